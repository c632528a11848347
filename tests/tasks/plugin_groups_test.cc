// Rewards that see a whole group, over every carrier.
#include "tests/tasks/plugin_support.h"

using namespace zeroth;

namespace {

// Three problems with 6 samples each, of rising length.
void check_groups(const Task& task, bool ranks) {
  std::vector<Problem> problems;
  for (int64_t i = 0; i < 3; ++i)
    problems.push_back(task.problem(Split::kTrain, i % task.size(Split::kTrain)));
  std::vector<std::string> texts;
  for (int i = 0; i < 18; ++i) texts.push_back(std::string(static_cast<size_t>(1 + i % 6), 'x'));
  std::vector<GradeRequest> requests;
  for (int i = 0; i < 18; ++i) {
    requests.push_back({&problems[static_cast<size_t>(i / 6)], texts[static_cast<size_t>(i)],
                        FinishReason::kStop, i / 6});
  }
  const auto verdicts = task.grade_batch(requests);
  for (size_t i = 0; i < 18; ++i) {
    CAPTURE(i);
    CHECK(verdicts[i][0].info["seen"] == 6);
    if (ranks) CHECK(verdicts[i][0].score == doctest::Approx(static_cast<double>(i % 6) / 5));
  }
}

}  // namespace

TEST_CASE("rewards that see the whole group, over every carrier") {
  ProcessOptions process;
  process.command = {"python3", "tests/tasks/plugins/groups.py"};
  process.workers = 2;
  process.batch = 4;  // under a group: groups are never cut
  process.backoff = 0.01;
  const auto by_process = make_process_task(process);
  check_groups(*by_process, true);
  process.batch = 13;  // two groups a request, not 13 samples
  const auto two = make_process_task(process);
  check_groups(*two, true);
  // A group that crashes its worker costs itself.
  const Problem problem = two->problem(Split::kTrain, 0);
  std::vector<GradeRequest> requests;
  for (int i = 0; i < 4; ++i)
    requests.push_back({&problem, i == 1 ? "crash" : "xx", FinishReason::kStop, i / 2});
  const auto verdicts = two->grade_batch(requests);
  CHECK(fault(verdicts[0][0]) == "crashed");
  CHECK(fault(verdicts[1][0]) == "crashed");
  CHECK(verdicts[2][0].info["seen"] == 2);
  CHECK(verdicts[3][0].info["seen"] == 2);

  SoOptions so;
  so.path = ZEROTH_BUILD_DIR "/test_group_plugin.so";
  so.host = ZEROTH_BUILD_DIR "/test_plugin_host";
  so.workers = 2;
  so.batch = 4;
  check_groups(*make_so_task(so), true);

  const Server server;
  HttpOptions http = http_options(server.base + "/groups", "zeroth");
  http.whole_groups = true;
  http.batch = 4;
  check_groups(*make_http_task(http), false);
  http.shape = "nemo_gym";
  http.problems = "parity:bits=4";
  CHECK_THROWS_WITH_AS(make_http_task(http), doctest::Contains("whole_groups"), Error);

  // The fourth carrier, a class: the numbers of the groups come with the requests.
  struct Shortest : BatchTask {
    std::string name() const override { return "shortest"; }
    int64_t size(Split) const override { return 3; }
    Problem problem(Split, int64_t) const override { return {"shortest", "1", "p", "a", {}}; }
    std::vector<std::vector<Verdict>> grade_batch(
        std::span<const GradeRequest> requests) const override {
      std::map<int64_t, int> seen;
      for (const GradeRequest& request : requests) ++seen[request.group];
      std::vector<std::vector<Verdict>> verdicts(requests.size(), std::vector<Verdict>(1));
      for (size_t i = 0; i < requests.size(); ++i)
        verdicts[i][0].info = {{"seen", seen[requests[i].group]}};
      return verdicts;
    }
  };
  check_groups(Shortest(), false);
}

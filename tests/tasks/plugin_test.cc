#include <doctest/doctest.h>

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "core/files.h"
#include "tasks/plugins/plugin_http.h"
#include "tasks/plugins/plugin_task.h"
#include "tasks/task_check.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "zeroth-plugin-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  std::vector<std::string> lines(const std::string& name) const {
    std::ifstream file(path / name);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
};

// Deadlines are long enough for a busy machine; only what really hangs waits for them.
ProcessOptions misbehaving(const Folder& folder) {
  ProcessOptions options;
  options.command = {"python3", "tests/tasks/plugins/misbehave.py", folder.path.string()};
  options.workers = 2;
  options.timeout = 1;
  options.grace = 2;
  options.backoff = 0.01;
  options.give_up = 1000;
  return options;
}

std::vector<Verdict> grades(const Task& task, const std::vector<std::string>& completions,
                            FinishReason finish = FinishReason::kStop) {
  const Problem problem = task.problem(Split::kTrain, 0);
  std::vector<GradeRequest> requests;
  for (const std::string& completion : completions)
    requests.push_back({&problem, completion, finish});
  std::vector<Verdict> first;
  for (auto& verdicts : task.grade_batch(requests)) first.push_back(verdicts.at(0));
  return first;
}

std::string fault(const Verdict& verdict) {
  return verdict.reason == Reason::kCheckerError ? verdict.info.value("fault", "?") : "";
}

}  // namespace

TEST_CASE("plug-in: problems, grading, and what it tells of itself") {
  const Folder folder;
  const auto task = make_process_task(misbehaving(folder));
  CHECK(task->name() == "misbehave");
  CHECK(task->size(Split::kTrain) == 3);
  CHECK(task->size(Split::kHeldOut) == 2);
  CHECK(task->stop_strings() == std::vector<std::string>{"\n\n"});
  CHECK_FALSE(task->grades_here());
  const Problem problem = task->problem(Split::kHeldOut, 1);
  CHECK(problem.prompt == "q1");
  CHECK(problem.answer == "held_out");
  CHECK_THROWS_AS(task->problem(Split::kTrain, 3), Error);
  const auto verdicts = grades(*task, {"right", "wrong", "rich"});
  CHECK(verdicts[0].score == 1);
  CHECK(verdicts[0].reason == Reason::kCorrect);
  CHECK(verdicts[1].score == 0);
  CHECK(verdicts[1].reason == Reason::kWrong);
  CHECK(verdicts[2].score == 0.25);
  CHECK(verdicts[2].reason == Reason::kParseError);
  CHECK(verdicts[2].extracted == "x");
  CHECK(verdicts[2].info["steps"] == 3);
  CHECK(grades(*task, {"wrong"}, FinishReason::kLength)[0].reason == Reason::kTruncated);
  CHECK(task->grade_batch({}).empty());
}

TEST_CASE("plug-in: parts become rewards with the config's weights") {
  const Folder folder;
  ProcessOptions options = misbehaving(folder);
  options.part_weights = {{"style", 2.0}};
  options.format_weight = 0.5;
  options.accuracy_weight = 3;
  const auto task = make_process_task(options);
  const auto verdicts = task->grade(task->problem(Split::kTrain, 0), "rich", FinishReason::kStop);
  REQUIRE(verdicts.size() == 3);
  CHECK(verdicts[0].name == "accuracy");
  CHECK(verdicts[0].weight == 3);
  CHECK(verdicts[1].name == "style");
  CHECK(verdicts[1].score == 0.5);
  CHECK(verdicts[1].weight == 2);
  CHECK(verdicts[2].name == "format");
  CHECK(verdicts[2].weight == 0.5);
}

TEST_CASE("plug-in: every fault costs its own completion and has its own name") {
  const Folder folder;
  const auto task = make_process_task(misbehaving(folder));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"right", ""},
      {"hang", "timeout"},
      {"crash", "crashed"},
      {"exit", "crashed"},
      {"garbage", "garbage"},
      {"bytes", "garbage"},
      {"deep", "garbage"},
      {"late", "late"},
      {"close", "closed"},
      {"leave", "closed"},
      {"text", "garbage"},
      {"wrong id", "garbage"},
      {"too many", "garbage"},
      {"error", "reported"},
      {"own timeout", "timeout"},
      {"deep behind a comment, in info", "garbage"},
      {"deep behind a comment, in parts", "garbage"},
      {"deep behind a comment, in more", "garbage"},
      {"right 2", ""}};
  std::vector<std::string> completions;
  for (const auto& [completion, expected] : cases) completions.push_back(completion);
  const auto verdicts = grades(*task, completions);
  for (size_t i = 0; i < cases.size(); ++i) {
    INFO(cases[i].first, " -> ", verdicts[i].info.dump());
    CHECK(fault(verdicts[i]) == cases[i].second);
    if (cases[i].second.empty())
      CHECK(verdicts[i].score == 1);
    else
      CHECK(verdicts[i].score == 0);
  }
  // The run goes on: the workers are fine again.
  const auto after = grades(*task, std::vector<std::string>(40, "right"));
  for (const Verdict& verdict : after) CHECK(verdict.score == 1);
}

TEST_CASE("plug-in: JSON as deep as can be sent ends in an error wherever it stands") {
  const Folder folder;
  ProcessOptions options = misbehaving(folder);
  const auto task = make_process_task(options);
  CHECK_THROWS_WITH_AS(task->problem(Split::kTrain, 2), doctest::Contains("no JSON"), Error);
  CHECK(task->problem(Split::kTrain, 1).prompt == "q1");
  options.options = {{"deep", true}};
  CHECK_THROWS_WITH_AS(make_process_task(options), doctest::Contains("no JSON"), Error);
}

TEST_CASE("plug-in: an answer to an earlier request is not taken for a later one") {
  const Folder folder;
  const auto task = make_process_task(misbehaving(folder));
  const auto verdicts = grades(*task, {"old id"});
  CHECK(fault(verdicts[0]).empty());
  CHECK(verdicts[0].score == 0);
}

TEST_CASE("plug-in: a worker killed in mid-batch loses nothing, and nothing is graded twice") {
  const Folder folder;
  ProcessOptions options = misbehaving(folder);
  options.timeout = 60;
  const auto task = make_process_task(options);
  std::vector<std::string> completions;
  for (int i = 0; i < 40; ++i) completions.push_back("piece " + std::to_string(i));
  completions[5] = "killed once in pieces";
  const auto verdicts = grades(*task, completions);
  for (const Verdict& verdict : verdicts) {
    CHECK(verdict.score == 1);
    CHECK(verdict.reason == Reason::kCorrect);
  }
  std::map<std::string, int> graded;
  for (const std::string& line : folder.lines("graded")) ++graded[line];
  CHECK(graded.size() == completions.size());
  for (const auto& [completion, times] : graded) {
    INFO(completion);
    CHECK(times == 1);
  }
  CHECK(fs::exists(folder.path / "killed"));
}

TEST_CASE("plug-in: a batch answered as a whole survives kill -9 too") {
  const Folder folder;
  ProcessOptions options = misbehaving(folder);
  options.timeout = 60;
  const auto task = make_process_task(options);
  std::vector<std::string> completions(30, "right");
  completions[3] = "killed once";
  completions[20] = "killed once more";
  for (const Verdict& verdict : grades(*task, completions)) CHECK(verdict.score == 1);
}

TEST_CASE("plug-in: one that is broken for good is given up, and probed again by the next batch") {
  const Folder folder;
  ProcessOptions options = misbehaving(folder);
  options.workers = 1;
  options.give_up = 4;
  options.retries = 0;
  const auto task = make_process_task(options);
  const auto starts = [&] { return folder.lines("starts").size(); };
  CHECK(starts() == 1);
  auto verdicts = grades(*task, std::vector<std::string>(100, "exit"));
  for (const Verdict& verdict : verdicts) CHECK(fault(verdict) == "crashed");
  CHECK(starts() == 4);  // the first request and three more
  verdicts = grades(*task, std::vector<std::string>(100, "exit"));
  for (const Verdict& verdict : verdicts) CHECK(fault(verdict) == "crashed");
  CHECK(starts() == 5);  // one probe
  for (const Verdict& verdict : grades(*task, {"right", "right"})) CHECK(verdict.score == 1);
  // And a success makes it trusted again.
  verdicts = grades(*task, {"right", "exit", "right"});
  CHECK(verdicts[0].score == 1);
  CHECK(fault(verdicts[1]) == "crashed");
  CHECK(verdicts[2].score == 1);
}

TEST_CASE("plug-in: no process is left behind") {
  const Folder folder;
  std::vector<std::string> pids;
  {
    const auto task = make_process_task(misbehaving(folder));
    grades(*task, {"hang", "right", "crash"});
    pids = folder.lines("starts");
  }
  CHECK(pids.size() >= 2);
  for (const std::string& pid : pids) CHECK(::kill(std::stoi(pid), 0) == -1);
}

TEST_CASE("plug-in: one that cannot start is an error with its reason") {
  const Folder folder;
  ProcessOptions options;
  options.command = "/nonexistent/plugin";
  CHECK_THROWS_WITH_AS(make_process_task(options), doctest::Contains("cannot start"), Error);
  options.command = {"python3", "-c", "import sys; sys.exit(9)"};
  CHECK_THROWS_WITH_AS(make_process_task(options), doctest::Contains("exit code 9"), Error);
  options.command = Json::array();
  CHECK_THROWS_WITH_AS(make_process_task(options), doctest::Contains("no command"), Error);
  ProcessOptions refused = misbehaving(folder);
  refused.options = {{"refuse", true}};
  CHECK_THROWS_WITH_AS(make_process_task(refused), doctest::Contains("no licence"), Error);
}

TEST_CASE("plug-in: problems of another task, by name as on the command line") {
  const Folder folder;
  const std::string spec = "process:command=[\"python3\",\"tests/tasks/plugins/misbehave.py\",\"" +
                           folder.path.string() + "\"],workers=1,problems=parity:bits=4";
  const auto task = make_task(spec);
  CHECK(task->size(Split::kHeldOut) == make_task("parity:bits=4")->size(Split::kHeldOut));
  const Problem problem = task->problem(Split::kTrain, 1);
  CHECK(problem.prompt == make_task("parity:bits=4")->problem(Split::kTrain, 1).prompt);
  CHECK(problem.task == "misbehave");
  CHECK(task->grade(problem, "right", FinishReason::kStop)[0].score == 1);
  CHECK(starts_plugin("process", Json::object()));
  CHECK(starts_plugin("mixture", {{"parts", {{{"task", "parity"}}, {{"task", "so"}}}}}));
  CHECK_FALSE(starts_plugin("parity", Json::object()));
}

TEST_CASE("plug-in: problems do not hang on the hash seed of a Python process") {
  ProcessOptions options;
  options.command = {"python3", "-c",
                     "import json, sys\n"
                     "for line in sys.stdin:\n"
                     "  m = json.loads(line)\n"
                     "  r = {'name': 'x', 'train': 3, 'held_out': 1}\n"
                     "  if m['op'] == 'problems':\n"
                     "    p = {'prompt': str(hash('word')), 'answer': ''}\n"
                     "    r = {'problems': [p for i in m['indices']]}\n"
                     "  print(json.dumps({'id': m['id'], **r}), flush=True)\n"};
  const auto prompt = [&] { return make_process_task(options)->problem(Split::kTrain, 0).prompt; };
  CHECK(prompt() == prompt());
}

TEST_CASE("looking at a run starts no plug-in and runs no program") {
  std::string why;
  CHECK(make_task_to_look("process", {{"command", "false"}}, &why) == nullptr);
  CHECK(why.find("plug-in") != std::string::npos);
  CHECK(make_task_to_look("humaneval", {{"path", "none"}}, &why) == nullptr);
  CHECK(why.find("programs") != std::string::npos);
  CHECK(make_task_to_look("parity", {{"bits", 99999}}, &why) == nullptr);
  CHECK(why.find("bits") != std::string::npos);

  const Json sandboxed = {{"runner", "sandbox"}};
  const auto programs = make_task_to_look("programs", sandboxed, &why);
  REQUIRE(programs != nullptr);
  CHECK(why.empty());
  CHECK(programs->grades_here());
  const Problem problem = programs->problem(Split::kTrain, 0);
  CHECK(
      programs->grade(problem, programs->gold_completion(problem), FinishReason::kStop)[0].score ==
      1);

  const Json parts = {
      {"parts", {{{"task", "parity"}}, {{"task", "programs"}, {"options", sandboxed}}}}};
  const auto mixture = make_task_to_look("mixture", parts, &why);
  REQUIRE(mixture != nullptr);
  CHECK(mixture->grades_here());
}

TEST_CASE("plug-in: a shared library, whose crash costs one worker and one completion") {
  const Folder folder;
  SoOptions options;
  options.path = ZEROTH_BUILD_DIR "/test_plugin.so";
  options.host = ZEROTH_BUILD_DIR "/test_plugin_host";
  options.options = {{"log", (folder.path / "log").string()}};
  options.workers = 2;
  options.timeout = 1;
  options.grace = 0;
  options.backoff = 0.01;
  const auto task = make_so_task(options);
  CHECK(task->name() == "library");
  CHECK(task->size(Split::kTrain) == 5);
  const Problem problem = task->problem(Split::kTrain, 2);
  CHECK(problem.prompt == "number 2");
  CHECK(problem.meta == Json{{"kind", 3}});
  CHECK_THROWS_WITH_AS(task->problem(Split::kTrain, 4), doctest::Contains("code 7"), Error);
  const std::string right = "<think></think><answer>right</answer>";
  std::vector<std::string> completions = {right,  "crash", "plain 1", "code",    "nan",     "error",
                                          "hang", "deep",  "abort",   "plain 2", "plain 3", right};
  const auto verdicts = grades(*task, completions);
  const std::vector<std::string> faults = {"",         "crashed",  "",        "reported",
                                           "reported", "reported", "timeout", "reported",
                                           "crashed",  "",         "",        ""};
  for (size_t i = 0; i < completions.size(); ++i) {
    INFO(completions[i], " -> ", verdicts[i].info.dump());
    CHECK(fault(verdicts[i]) == faults[i]);
  }
  CHECK(verdicts[0].score == 1);
  CHECK(verdicts[0].info["steps"] == 2);
  CHECK(verdicts[11].score == 1);
  CHECK(verdicts[2].score == 0);
  // Each completion reached the grader once: results are sent one by one.
  std::map<std::string, int> graded;
  for (const std::string& line : folder.lines("log")) ++graded[line];
  CHECK(graded["plain 1"] == 1);
  CHECK(graded["plain 2"] == 1);
  CHECK(graded["plain 3"] == 1);
  CHECK(graded[right] == 2);
  options.options = Json::object();
  CHECK_THROWS_WITH_AS(make_so_task(options), doctest::Contains("refused the options"), Error);
}

namespace {

// The server ends when its standard input does.
struct Server {
  Folder folder;
  FILE* process = nullptr;
  std::string base;
  Server() {
    const std::string port = (folder.path / "port").string();
    process = ::popen(("python3 tests/tasks/plugins/server.py " + port).c_str(), "w");
    REQUIRE(process != nullptr);
    while (!fs::exists(port)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    base = "http://127.0.0.1:" + read_file(port);
  }
  ~Server() { ::pclose(process); }
};

HttpOptions http_options(const std::string& url, const std::string& shape) {
  HttpOptions options;
  options.url = url;
  options.shape = shape;
  options.workers = 2;
  options.timeout = 1;
  options.grace = 2;
  options.backoff = 0.01;
  options.give_up = 1000;
  options.retries = 1;
  options.checker_patience = 0;
  if (shape != "zeroth") options.problems = "parity:bits=4";
  return options;
}

}  // namespace

TEST_CASE("plug-in: HTTP, own shape") {
  const Server server;
  const auto task = make_http_task(http_options(server.base + "/any", "zeroth"));
  CHECK(task->name() == "server");
  CHECK(task->problem(Split::kHeldOut, 1).prompt == "p1");
  const auto verdicts = grades(*task, {"right", "hang", "late", "close", "garbage", "status",
                                       "no http", "deep", "wrong", "right"});
  const std::vector<std::string> faults = {
      "", "timeout", "late", "closed", "garbage", "http_status", "garbage", "garbage", "", ""};
  for (size_t i = 0; i < faults.size(); ++i) {
    INFO(i, " -> ", verdicts[i].info.dump());
    CHECK(fault(verdicts[i]) == faults[i]);
  }
  CHECK(verdicts[0].score == 1);
  CHECK(verdicts[8].score == 0);
  CHECK(verdicts[9].score == 1);
}

TEST_CASE("plug-in: HTTP as OpenRLHF and NeMo-Gym speak it") {
  const Server server;
  for (const auto& [path, shape] :
       {std::pair<std::string, std::string>{"/get_reward", "openrlhf"}, {"/verify", "nemo_gym"}}) {
    CAPTURE(shape);
    const auto task = make_http_task(http_options(server.base + path, shape));
    const Problem problem = task->problem(Split::kTrain, 0);
    const auto verdicts = grades(*task, {problem.answer, "wrong", "close", problem.answer, "deep"});
    CHECK(verdicts[0].score == 1);
    CHECK(verdicts[1].score == 0);
    CHECK(fault(verdicts[1]).empty());
    CHECK(fault(verdicts[2]) == "closed");
    CHECK(fault(verdicts[4]) == "garbage");
    CHECK(verdicts[3].score == 1);
    CHECK(verdicts[1].info[shape == "openrlhf" ? "length" : "judge"] ==
          (shape == "openrlhf" ? 5 : 2));
  }
}

TEST_CASE("plug-in: an outage of a server is waited for, up to the patience") {
  const Server server;
  HttpOptions options = http_options(server.base + "/any", "zeroth");
  options.workers = 1;
  options.retries = 0;
  options.give_up = 1;
  options.checker_patience = 60;
  {
    // Six answers of 503, then the server is there again: no completion is lost.
    const auto task = make_http_task(options);
    for (const Verdict& verdict : grades(*task, {"away 6", "away 6", "away 6"}))
      CHECK(verdict.score == 1);
  }
  options.checker_patience = 0.2;
  const auto task = make_http_task(options);
  for (const Verdict& verdict : grades(*task, {"away 1000000"}))
    CHECK(fault(verdict) == "http_status");
}

TEST_CASE("plug-in: an answer to another request is garbage, over HTTP too") {
  const Server server;
  const auto task = make_http_task(http_options(server.base + "/any", "zeroth"));
  const auto verdicts = grades(*task, {"other id"});
  CHECK(fault(verdicts[0]) == "garbage");
  CHECK(verdicts[0].info["detail"].get<std::string>().find("another request") != std::string::npos);
  CHECK(grades(*task, {"right"})[0].score == 1);
}

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

TEST_CASE("plug-in: null does not apply, and a reason in its own words is kept") {
  const Folder folder;
  ProcessOptions options = misbehaving(folder);
  options.part_weights = {{"style", 2.0}};
  const auto task = make_process_task(options);
  const auto verdicts = grades(*task, {"null", "says", "right"});
  CHECK(verdicts[0].reason == Reason::kNotApplicable);
  CHECK(fault(verdicts[0]).empty());
  CHECK(verdicts[1].reason == Reason::kWrong);
  CHECK(verdicts[1].info["said"] == "off by <b>one</b>");
  CHECK(verdicts[2].score == 1);
  const auto parts = task->grade(task->problem(Split::kTrain, 0), "no style", FinishReason::kStop);
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].score == 1);
  CHECK(parts[1].reason == Reason::kNotApplicable);
}

TEST_CASE("plug-in: what it started ends with it, also in a session of its own") {
  const Folder folder;
  {
    const auto task = make_process_task(misbehaving(folder));
    grades(*task, {"daemon", "right"});
    REQUIRE(folder.lines("daemons").size() == 1);
    CHECK(::kill(std::stoi(folder.lines("daemons")[0]), 0) == 0);
  }
  // Killed, and reaped by whoever adopted it.
  const pid_t pid = std::stoi(folder.lines("daemons")[0]);
  bool gone = false;
  for (int i = 0; i < 500 && !gone; ++i) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(stat, line);
    gone = line.empty() || line.find(") Z") != std::string::npos;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(gone);
}

TEST_CASE("task check says within a few tries what a plug-in did that prints or crashes") {
  const Folder folder;
  for (const char* behaviour : {"import os; os._exit(3)", "print('hello'); sys.stdout.flush()"}) {
    CAPTURE(behaviour);
    ProcessOptions options;
    options.command = {"python3", "-c",
                       std::string("import json, sys\n"
                                   "for line in sys.stdin:\n"
                                   "  m = json.loads(line)\n"
                                   "  r = {'name': 'x', 'train': 30, 'held_out': 3}\n"
                                   "  if m['op'] == 'problems':\n"
                                   "    r = {'problems': [{'prompt': m['split'] + str(i), "
                                   "'answer': 'a'} for i in m['indices']]}\n"
                                   "  if m['op'] == 'grade':\n"
                                   "    ") +
                           behaviour +
                           "\n"
                           "    r = {'results': [1 for x in m['batch']]}\n"
                           "  print(json.dumps({'id': m['id'], **r}), flush=True)\n"};
    options.workers = 1;
    options.backoff = 0.01;
    const TaskCheck check = check_task(*make_process_task(options), 20);
    CHECK(!check.passed());
    const std::string text = check.to_text();
    CAPTURE(text);
    CHECK(text.find("FAIL  grader") != std::string::npos);
    CHECK(text.find(std::string(behaviour).starts_with("import") ? "exit code 3" : "hello") !=
          std::string::npos);
  }
}

TEST_CASE("plug-in: a server that is not there, and addresses") {
  CHECK_THROWS_WITH_AS(make_http_task(http_options("http://127.0.0.1:1/", "zeroth")),
                       doctest::Contains("unreachable"), Error);
  CHECK(parse_http_url("http://host").path == "/");
  CHECK(parse_http_url("http://[::1]:81/a?b").host == "::1");
  CHECK(parse_http_url("http://[::1]:81/a?b").port == "81");
  CHECK(parse_http_url("http://[::1]/").port == "80");
  for (const char* bad :
       {"https://x/", "x", "http://", "http://x:y/", "http://x:70000/", "http://a b/"})
    CHECK_THROWS_AS(parse_http_url(bad), Error);
}

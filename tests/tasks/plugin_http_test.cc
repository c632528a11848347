// Plug-ins behind HTTP: the shapes that they speak, outages, answers to other requests.
#include "tests/tasks/plugin_support.h"

using namespace zeroth;

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

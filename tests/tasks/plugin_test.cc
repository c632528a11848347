#include "tests/tasks/plugin_support.h"

#include <map>

#include "tasks/task_check.h"

using namespace zeroth;
namespace fs = std::filesystem;

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
  for (const auto& one : graded) {
    INFO(one.first);
    CHECK(one.second == 1);
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
  for (int i = 0; i < 3000 && !gone; ++i) {
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

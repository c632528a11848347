#include "tasks/builtin/code_task.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "core/files.h"
#include "core/json_lines.h"
#include "rewards/code/code_columns.h"
#include "tasks/task_check.h"

using namespace zeroth;

namespace {

bool refused_here() {
  if (probe_sandbox().sufficient()) return false;
  MESSAGE("programs are refused on this machine:\n" << probe_sandbox().text());
  return true;
}

}  // namespace

TEST_CASE("code task: rows in the columns of public sets") {
  if (refused_here()) return;
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator("tests/data/code_sets")) {
    ++files;
    const std::string path = file.path().string();
    CAPTURE(path);
    std::unique_ptr<Task> task;
    try {
      task = make_task("code", {{"path", path}, {"held_out_every", 3}, {"time_limit", 10}});
    } catch (const Error& error) {
      // Their tests need numpy: without it the rows are refused by its name.
      const bool plus = path.find("plus") != std::string::npos;
      CHECK_MESSAGE(plus, error.what());
      CHECK(std::string(error.what()).find("numpy") != std::string::npos);
      continue;
    }
    CHECK(task->size(Split::kTrain) + task->size(Split::kHeldOut) == 10);
    const TaskCheck check = check_task(*task, 10);
    CHECK_MESSAGE(check.passed(), check.to_text());
  }
  CHECK(files == 13);
}

TEST_CASE("code task: what is left out is said, weak tests can be masked or left out") {
  if (refused_here()) return;
  const std::string path = "/tmp/zeroth_code_notes_test.jsonl";
  std::ofstream(path)
      << R"({"task_id": "a", "text": "Add.", "code": "def f(x):\n    return x + 1\n", "test_list": ["assert f(1) == 2"]})"
      << "\n"
      << R"~({"task_id": "b", "text": "Add it.", "code": "def f(x):\n    return x + 1\n", "test": "print(f(1))"})~"
      << "\n"
      << R"({"task_id": "c", "text": "Add one.", "code": "import time\ndef f(x):\n    time.sleep(0)\n    return x + 1\n", "test": "from unittest.mock import patch\n\ndef test_a():\n    with patch('time.sleep'):\n        assert f(1) == 2\n"})"
      << "\n"
      << R"({"task_id": "d", "text": "Never called.", "code": "def f(x):\n    return x + 1\n", "test": "def test_a():\n    assert 1 + 1 == 2\n"})"
      << "\n";
  const auto graded = [&](const std::string& weak_tests) {
    const auto task = make_task("code", {{"path", path}, {"weak_tests", weak_tests}});
    std::map<std::string, Verdict> verdicts;
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      for (int64_t i = 0; i < task->size(split); ++i) {
        const Problem problem = task->problem(split, i);
        verdicts[problem.id.substr(problem.id.rfind('-') + 1)] =
            task->grade(problem, task->gold_completion(problem), FinishReason::kStop)[0];
      }
    }
    std::string notes;
    for (const std::string& note : dynamic_cast<const CodeTask&>(*task).notes()) notes += note;
    return std::pair(verdicts, notes);
  };
  auto [used, notes] = graded("use");
  CHECK(notes.find("1 of 4 rows") != std::string::npos);
  CHECK(notes.find("b: the tests check nothing") != std::string::npos);
  CHECK(notes.find("1 of 3 rows have weak tests") != std::string::npos);
  CHECK(used["a"].score == 1);
  CHECK(used["a"].info["weak"] == 0);
  CHECK(used["c"].score == 1);
  CHECK(used["c"].info["weak"] == 1);
  // The row is at fault, not the program.
  CHECK(used["d"].reason == Reason::kCheckerError);
  CHECK(used["d"].info["fault"] == "tests");
  auto [masked, masked_notes] = graded("mask");
  CHECK(masked["a"].score == 1);
  CHECK(masked["c"].reason == Reason::kCheckerError);
  CHECK(masked["c"].info["fault"] == "weak_tests");
  auto [dropped, dropped_notes] = graded("drop");
  CHECK_FALSE(dropped.contains("c"));
  CHECK(dropped_notes.find("2 of 4 rows") != std::string::npos);
  std::remove(path.c_str());
}

TEST_CASE("code task: integers of any size reach the tests") {
  if (refused_here()) return;
  for (const bool array : {false, true}) {
    const std::string path = "/tmp/zeroth_code_digits_test.json";
    const std::string row =
        R"({"prompt": "Add.", "solution": "def add(a, b):\n    return a + b\n", "tests": {"entry_point": "add", "calls": [[100000000000000000000, 1], [1, 2]], "expected_values": [100000000000000000001, 3]}})";
    const std::string other =
        R"({"prompt": "Add with \"brackets\" ]},{", "solution": "def add(a, b):\n    return a + b\n", "tests": {"fn_name": "add", "inputs": [[100000000000000000007, 1]], "outputs": [100000000000000000008]}})";
    std::ofstream(path) << (array ? "[" + row + ",\n " + other + "]" : row + "\n" + other + "\n");
    const auto task = make_task("code", {{"path", path}, {"held_out_every", 2}});
    const TaskCheck check = check_task(*task, 10);
    for (const TaskCheck::Line& line : check.lines) {
      if (line.name == "gold" || line.name == "perturbed") CHECK_MESSAGE(line.passed, line.detail);
    }
    std::remove(path.c_str());
  }
}

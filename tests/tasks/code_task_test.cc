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

CodeOptions limits(double seconds = 10) {
  CodeOptions options;
  options.limits.wall_seconds = seconds;
  return options;
}

// Lines {"id", "expected", "row" or the row itself, "program" or "completion"}, graded as the code
// task would.
struct Expected {
  std::string id, text, note;
  bool pass = false;
  LoadedTests loaded;
  std::string program;
};

std::vector<Expected> read_expected(const std::string& path, SandboxPool& pool) {
  std::vector<Expected> all;
  std::vector<Json> lines;
  std::vector<std::string> texts;
  for_each_json_line(path, [&](const Json& line, int64_t) {
    lines.push_back(line);
    const Json& row = line.contains("row") ? line["row"] : line;
    Expected one;
    one.id = line["id"].get<std::string>();
    one.note = line.value("note", line.value("title", ""));
    one.pass = line["expected"] == "pass";
    one.text = row.dump();
    texts.push_back(one.text);
    all.push_back(std::move(one));
  });
  std::vector<LoadedTests> loaded = load_code_tests(texts, pool);
  for (size_t i = 0; i < all.size(); ++i) {
    const Json& row = lines[i].contains("row") ? lines[i]["row"] : lines[i];
    all[i].loaded = std::move(loaded[i]);
    if (lines[i].contains("completion")) {
      const auto text = read_code_row(row, all[i].text, all[i].loaded.tests, "", 0, false);
      all[i].program =
          extract_program(lines[i]["completion"].get<std::string>(), FormatRules(), text.shape);
    } else {
      all[i].program = row["program"].get<std::string>();
    }
  }
  return all;
}

void check_expected(const std::string& path, size_t rows, double seconds) {
  SandboxPool pool(2);
  const std::vector<Expected> all = read_expected(path, pool);
  REQUIRE(all.size() == rows);
  std::vector<CodeSubmission> submissions;
  std::vector<size_t> places;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].loaded.error.empty()) {
      CHECK_MESSAGE(!all[i].pass, all[i].id, ": ", all[i].loaded.error);
      continue;
    }
    submissions.push_back({all[i].program, &all[i].loaded.tests});
    places.push_back(i);
  }
  const std::vector<CodeVerdict> verdicts = grade_code(submissions, limits(seconds), pool);
  for (size_t k = 0; k < places.size(); ++k) {
    const Expected& one = all[places[k]];
    INFO(one.id, " ", one.note, ": ", verdicts[k].detail);
    CHECK((verdicts[k].score == 1) == one.pass);
    CHECK(verdicts[k].reason != Reason::kCheckerError);
  }
}

}  // namespace

TEST_CASE("code task: cases of public reports") {
  if (refused_here()) return;
  check_expected("tests/data/code_reports.jsonl", 175, 10);
}

TEST_CASE("code task: programs that want to fool their tests") {
  if (refused_here()) return;
  check_expected("tests/data/hostile_tests.jsonl", 100, 3);
}

TEST_CASE("code task: shadowed names pay nothing") {
  if (refused_here()) return;
  const std::vector<std::string> lines = {
      "range = lambda *a: []",
      "all = lambda it: True",
      "any = lambda it: True",
      "isinstance = lambda *a: True",
      "abs = lambda x: 0",
      "sorted = lambda *a, **k: []",
      "set = lambda *a: frozenset()",
      "len = lambda x: 0",
      "zip = lambda *a: []",
      "enumerate = lambda *a: []",
      "round = lambda *a: 0",
      "list = lambda *a: []",
      "tuple = lambda *a: ()",
      "sum = lambda *a: 0",
      "max = lambda *a, **k: 0",
      "AssertionError = type('A', (BaseException,), {})",
      "def check(candidate): pass",
      "class math:\n    isclose = fabs = lambda *a, **k: True",
      "import builtins; builtins.all = lambda it: True; builtins.range = lambda *a: []",
      "__builtins__ = {'range': lambda *a: []}"};
  SandboxPool pool(2);
  std::vector<std::string> rows, hollow;
  for_each_json_line("tests/data/code_sample.jsonl", [&](const Json& row, int64_t) {
    rows.push_back(row.dump());
    std::string program;
    const auto code = row.value("code", row.value("prompt", ""));
    if (!row.contains("code")) program = code + "    return None\n";
    for (size_t at = 0; row.contains("code") && at < code.size();) {
      const size_t end = std::min(code.find('\n', at), code.size());
      const std::string line = code.substr(at, end - at);
      if (line.starts_with("def ")) program += line + "\n  return None\n";
      at = end + 1;
    }
    hollow.push_back(program);
  });
  const std::vector<LoadedTests> loaded = load_code_tests(rows, pool);
  std::vector<CodeSubmission> submissions;
  for (size_t i = 0; i < rows.size(); ++i) {
    REQUIRE(loaded[i].error.empty());
    for (const std::string& line : lines)
      submissions.push_back({line + "\n" + hollow[i], &loaded[i].tests});
  }
  const std::vector<CodeVerdict> verdicts = grade_code(submissions, limits(), pool);
  for (size_t k = 0; k < verdicts.size(); ++k) {
    INFO(submissions[k].program);
    CHECK(verdicts[k].score == 0);
  }
}

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

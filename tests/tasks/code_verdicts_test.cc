#include <doctest/doctest.h>

#include <algorithm>

#include "core/json_lines.h"
#include "rewards/code/code_columns.h"
#include "tasks/builtin/code_task.h"

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

TEST_CASE("code verdicts: cases of public reports") {
  if (refused_here()) return;
  check_expected("tests/data/code_reports.jsonl", 175, 10);
}

TEST_CASE("code verdicts: programs that want to fool their tests") {
  if (refused_here()) return;
  check_expected("tests/data/hostile_tests.jsonl", 100, 3);
}

TEST_CASE("code verdicts: shadowed names pay nothing") {
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

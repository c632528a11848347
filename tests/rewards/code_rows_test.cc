// Rows of data sets: tests run as their frameworks run them, or the row is refused by name.
#include <doctest/doctest.h>

#include "rewards/code/code_grader.h"

using namespace zeroth;

namespace {

// Where namespaces or seccomp are not allowed, programs are refused, not run; then there is nothing
// to test here.
bool refused_here() {
  if (probe_sandbox().sufficient()) return false;
  MESSAGE("programs are refused on this machine:\n" << probe_sandbox().text());
  return true;
}

struct Case {
  std::string row, right, wrong;
};

const std::string kNext = "def f(x):\n    return x + 1\n", kZero = "def f(x):\n    return 0\n";
const std::string kDouble = "print(int(input()) * 2)", kIdle = "pass";

// Every row loads; its right program passes and its wrong one does not.
void check_rows(const std::vector<Case>& cases) {
  SandboxPool pool(2);
  std::vector<std::string> rows;
  for (const Case& c : cases) rows.push_back(c.row);
  const std::vector<LoadedTests> loaded = load_code_tests(rows, pool);
  std::vector<CodeSubmission> submissions;
  for (size_t i = 0; i < cases.size(); ++i) {
    CHECK_MESSAGE(loaded[i].error.empty(), cases[i].row, " -> ", loaded[i].error);
    submissions.push_back({cases[i].right, &loaded[i].tests});
    submissions.push_back({cases[i].wrong, &loaded[i].tests});
  }
  CodeOptions options;
  options.limits.wall_seconds = 10;
  const std::vector<CodeVerdict> verdicts = grade_code(submissions, options, pool);
  for (size_t i = 0; i < cases.size(); ++i) {
    INFO(cases[i].row, " -> ", verdicts[2 * i].detail, " / ", verdicts[2 * i + 1].detail);
    CHECK(verdicts[2 * i].score == 1);
    CHECK(verdicts[2 * i + 1].score == 0);
  }
}

}  // namespace

TEST_CASE("code rows: tests that are only defined are run") {
  if (refused_here()) return;
  check_rows({
      {R"({"test": "from solution import f\ndef test_a():\n    assert f(1) == 2\n"})", kNext,
       kZero},
      {R"({"entry_point": "f", "test": "def test_a():\n    assert f(1) == 2\n\ndef test_b():\n    assert f(5) == 6\n"})",
       kNext, "def f(x):\n    return 2\n"},
      {R"({"test_list": ["def test_a():\n    assert f(1) == 2"]})", kNext, kZero},
      {R"({"entry_point": "f", "test": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n    def test_b(self):\n        self.assertEqual(f(5), 6)\nif __name__ == '__main__':\n    unittest.main()\n"})",
       kNext, "x = 1\n"},
      {R"({"entry_point": "f", "test": "class TestF:\n    def test_a(self):\n        assert f(1) == 2\n"})",
       kNext, kZero},
      {R"({"test_list": ["if __name__ == \"__main__\":\n    assert f(1) == 2"]})", kNext, kZero},
      {R"({"entry_point": "f", "test": "def check_f(candidate):\n    assert candidate(1) == 2\n"})",
       kNext, kZero},
      {R"({"entry_point": "f", "test": "def check(f):\n    assert f(1) == 2\ncheck(f)\n"})", kNext,
       kZero},
      {R"({"entry_point": "f", "test": "async def test_a():\n    assert f(1) == 2\n"})", kNext,
       kZero},
  });
}

TEST_CASE("code rows: inputs and outputs in every wrapping") {
  if (refused_here()) return;
  check_rows({
      {R"({"tests": "{\"inputs\": [\"3\\n\"], \"outputs\": [\"6\\n\"]}"})", kDouble, kIdle},
      {R"({"tests": "[{\"input\": \"3\\n\", \"output\": \"6\\n\"}]"})", kDouble, kIdle},
      {R"({"tests": [{"input": "3\n", "output": "6\n", "type": "stdin_stdout"}]})", kDouble, kIdle},
      {R"({"tests": {"inputs": ["3\n"], "outputs": [6]}})", kDouble, kIdle},
      {R"({"tests": {"inputs": [3], "outputs": [6]}})", kDouble, kIdle},
      {R"({"tests": {"inputs": [[3, 4]], "outputs": [[7]]}})", "print(int(input()) + int(input()))",
       kIdle},
  });
}

TEST_CASE("code rows: tests that check nothing are an error of the row") {
  if (refused_here()) return;
  SandboxPool pool(2);
  const std::vector<std::string> rows = {
      R"({"entry_point": "f", "test": "print(f(1))\n"})",
      R"({"entry_point": "f", "test": "def check(candidate):\n    pass\n"})",
      R"({"entry_point": "f", "test": "def check(candidate):\n    assert True\n"})",
      R"({"entry_point": "f", "test": "def check(candidate):\n    print(candidate(1))\n"})",
      R"({"entry_point": "f", "test": "import doctest\ndoctest.testmod()\n"})",
      R"({"entry_point": "f", "test": "\"see file\""})",
      R"({"entry_point": "f", "test": "def run_all():\n    assert f(1) == 2\n"})",
      R"({"entry_point": "f", "test": "import no_such_module\nassert f(1) == 2\n"})",
      R"({"entry_point": "f", "test": "assert f(1 == 2\n"})",
      R"({"tests": "1 + 1"})",
      R"({"tests": ""})",
      R"({"tests": []})",
      R"({"tests": {"inputs": [], "outputs": []}})",
      R"({"tests": {"inputs": ["1"], "outputs": [null]}})",
      R"({"tests": [{"input": "1"}]})",
      R"({"tests": {"entry_point": "f", "calls": [], "expected_values": []}})",
      // Public tests alone would be easier to pass than what was published.
      R"({"public_test_cases": "[{\"input\": \"1\", \"output\": \"2\", \"testtype\": \"stdin\"}]", "private_test_cases": "!!!"})",
      R"({"public_test_cases": "[{\"input\": \"1\", \"output\": \"2\", \"testtype\": \"stdin\"}]", "private_test_cases": "eJxrYJmqzAABPfLR1UqZeQ"})",
      R"({"public_test_cases": "[{\"input\": \"1\", \"output\": \"2\", \"testtype\": \"stdin\"}]", "private_test_cases": "eNprYJmqzAABPfLR1UqZeQ"})",
  };
  const std::vector<LoadedTests> loaded = load_code_tests(rows, pool);
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK_MESSAGE(!loaded[i].error.empty(), rows[i]);
    CHECK_MESSAGE(loaded[i].error.find("cannot read") == std::string::npos, loaded[i].error);
  }
}

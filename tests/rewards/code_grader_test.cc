#include "rewards/code/code_grader.h"

#include <doctest/doctest.h>

#include <csignal>
#include <thread>

#include "core/files.h"
#include "core/json_lines.h"

using namespace zeroth;

namespace {

// Where namespaces or seccomp are not allowed, programs are refused, not run; then there is nothing
// to test here.
bool refused_here() {
  if (probe_sandbox().sufficient()) return false;
  MESSAGE("programs are refused on this machine:\n" << probe_sandbox().text());
  return true;
}

CodeTests tests_of(const std::string& row, SandboxPool& pool) {
  auto loaded = load_code_tests({row}, pool);
  REQUIRE_MESSAGE(loaded[0].error.empty(), loaded[0].error);
  return std::move(loaded[0].tests);
}

CodeOptions limits(double seconds = 5) {
  CodeOptions options;
  options.limits.wall_seconds = seconds;
  return options;
}

CodeVerdict grade(const std::string& program, const CodeTests& tests, SandboxPool& pool,
                  const CodeOptions& options = limits()) {
  return grade_code({{program, &tests}}, options, pool)[0];
}

// The function with nothing in it.
std::string emptied(const Json& row) {
  if (row.contains("prompt") && row.contains("canonical_solution"))
    return row["prompt"].get<std::string>() + "    return None\n";
  // The head of the last function of the reference.
  const auto code = row["code"].get<std::string>();
  std::string program;
  for (size_t at = 0; at < code.size();) {
    const size_t end = std::min(code.find('\n', at), code.size());
    const std::string line = code.substr(at, end - at);
    if (line.rfind("def ", 0) == 0) program += line + "\n  return None\n";
    at = end + 1;
  }
  return program;
}

}  // namespace

TEST_CASE("code: references of HumanEval and MBPP pass, emptied ones fail") {
  if (refused_here()) return;
  SandboxPool pool(0);
  std::vector<std::string> rows;
  std::vector<std::string> references, hollow;
  for_each_json_line("tests/data/code_sample.jsonl", [&](const Json& row, int64_t) {
    rows.push_back(row.dump());
    references.push_back(row.contains("code") ? row["code"].get<std::string>()
                                              : row["prompt"].get<std::string>() +
                                                    row["canonical_solution"].get<std::string>());
    hollow.push_back(emptied(row));
  });
  REQUIRE(rows.size() == 18);
  const auto loaded = load_code_tests(rows, pool);
  std::vector<CodeSubmission> right, wrong;
  for (size_t i = 0; i < rows.size(); ++i) {
    REQUIRE_MESSAGE(loaded[i].error.empty(), loaded[i].error);
    right.push_back({references[i], &loaded[i].tests});
    wrong.push_back({hollow[i], &loaded[i].tests});
  }
  const auto passed = grade_code(right, limits(), pool);
  const auto failed = grade_code(wrong, limits(), pool);
  for (size_t i = 0; i < rows.size(); ++i) {
    INFO(rows[i].substr(0, 40), ": ", passed[i].detail);
    CHECK(passed[i].score == 1);
    CHECK(passed[i].reason == Reason::kCorrect);
    CHECK(failed[i].score == 0);
    CHECK(failed[i].reason != Reason::kCheckerError);
  }
}

TEST_CASE("code: helpers of the prompt are the row's, with and without its solution") {
  if (refused_here()) return;
  SandboxPool pool(1);
  // As HumanEval/32: the test asks the prompt's poly(), which the program must not bend.
  const std::string prompt =
      "import math\n\ndef poly(xs, x):\n"
      "    return sum([c * math.pow(x, i) for i, c in enumerate(xs)])\n\n"
      "def find_zero(xs):\n    \"\"\"where poly is 0\"\"\"\n";
  Json row = {{"prompt", prompt},
              {"entry_point", "find_zero"},
              {"test",
               "def check(candidate):\n"
               "    assert math.fabs(poly([2, 1], candidate([2, 1]))) < 1e-4\n"}};
  for (const bool solved : {false, true}) {
    CAPTURE(solved);
    if (solved) row["canonical_solution"] = "    return -xs[0] / xs[1]\n";
    const CodeTests tests = tests_of(row.dump(), pool);
    CHECK(grade(prompt + "    return -xs[0] / xs[1]\n", tests, pool).score == 1);
    for (const char* trick : {"", "enumerate = lambda *a: []\n", "sum = lambda *a: 0\n"})
      CHECK(grade(trick + prompt + "    return None\n", tests, pool).reason == Reason::kWrong);
    CHECK(grade("def poly(xs, x): return 0\ndef find_zero(xs): return None\n", tests, pool).score ==
          0);
  }
}

TEST_CASE("code: verdicts and their reasons") {
  if (refused_here()) return;
  SandboxPool pool(1);
  const CodeTests add = tests_of(
      R"({"tests": {"entry_point": "add", "calls": [[1, 2], [2, 2]], "expected_values": [3, 4]}})",
      pool);
  CHECK(grade("def add(a, b): return a + b", add, pool).reason == Reason::kCorrect);
  CHECK(grade("def add(a, b): return 3", add, pool).reason == Reason::kWrong);
  CHECK(grade("def add(a, b) return", add, pool).reason == Reason::kParseError);
  CHECK(grade("", add, pool).reason == Reason::kNoAnswer);
  CHECK(grade("import os; os._exit(0)", add, pool).reason == Reason::kRuntimeError);
  CHECK(grade("while True: pass", add, pool, limits(0.5)).reason == Reason::kTimeout);
  CHECK(grade("while True: print('x' * 65536)", add, pool).reason == Reason::kSandboxKilled);
  CHECK(grade("x = bytearray(1 << 40)", add, pool).score == 0);
  CodeOptions partial = limits();
  partial.partial_credit = true;
  CHECK(grade("def add(a, b): return 3", add, pool, partial).score == 0.5);
  CHECK(grade("def add(a, b):\n  if b == 2 and a == 2: raise ValueError\n  return 3", add, pool)
            .passed == 1);
}

TEST_CASE("code: programs that read and write, in Python and in C++") {
  if (refused_here()) return;
  SandboxPool pool(0);
  const std::string io = R"("inputs": ["3 4\n", "10 -2\n"], "outputs": ["7\n", "8\n"])";
  const CodeTests python = tests_of("{\"tests\": {" + io + "}}", pool);
  const CodeTests cpp = tests_of("{\"language\": \"cpp\", \"tests\": {" + io + "}}", pool);
  REQUIRE(python.language == "python");
  REQUIRE(cpp.language == "cpp");
  CHECK(grade("a, b = map(int, input().split())\nprint(a + b)", python, pool).score == 1);
  CHECK(grade("print(7)", python, pool).reason == Reason::kWrong);
  // The seed of hashes is fixed, so a program that prints a set prints the same each time.
  CHECK(grade("import sys\na, b = map(int, input().split())\n"
              "print(a + b if sys.flags.hash_randomization == 0 else 0)",
              python, pool)
            .score == 1);
  CHECK(
      grade(
          "import sys\na, b = map(int, input().split())\nprint(a + b if '' not in sys.path else 0)",
          python, pool)
          .score == 1);
  const std::string head = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; ";
  const std::vector<std::pair<std::string, Reason>> cases = {
      {head + "std::cout << a + b << std::endl; }", Reason::kCorrect},
      {head + "std::cout << 7; }", Reason::kWrong},
      {head + "std::cout << a + c; }", Reason::kParseError},
      {head + "std::cout << a + b << std::endl; return 1; }", Reason::kWrong},
      {head + "volatile int* p = nullptr; *p = 1; }", Reason::kWrong},
      {"#include \"/etc/passwd\"\nint main() {}", Reason::kParseError},
      {"#include <fstream>\nint main() { std::ofstream(\"/usr/x\") << 1; }", Reason::kWrong}};
  std::vector<CodeSubmission> submissions;
  for (const auto& [program, reason] : cases) submissions.push_back({program, &cpp});
  const auto verdicts = grade_code(submissions, limits(), pool);
  for (size_t i = 0; i < cases.size(); ++i) {
    INFO(cases[i].first, " -> ", verdicts[i].detail);
    CHECK(to_string(verdicts[i].reason) == std::string(to_string(cases[i].second)));
    CHECK(verdicts[i].score == (cases[i].second == Reason::kCorrect ? 1 : 0));
  }
}

TEST_CASE("code: workers killed in mid-batch cost nothing") {
  if (refused_here()) return;
  SandboxPool pool(2);
  const CodeTests echo =
      tests_of(R"({"tests": {"entry_point": "f", "calls": [[1]], "expected_values": [1]}})", pool);
  const std::vector<CodeSubmission> submissions(
      12, {"import time\ntime.sleep(0.1)\ndef f(a): return a", &echo});
  const std::vector<int> victims = pool.worker_pids();
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    for (const int pid : victims) ::kill(pid, SIGKILL);
  });
  const auto verdicts = grade_code(submissions, limits(), pool);
  killer.join();
  for (const CodeVerdict& verdict : verdicts) CHECK(verdict.score == 1);
  CHECK(pool.worker_pids() != victims);
}

TEST_CASE("code: expected values compare as Python compares them") {
  const auto value = [](const std::string& json, bool plain = true) {
    PyValue v;
    REQUIRE(parse_value(json, plain, v));
    return v;
  };
  const auto same = [&](const std::string& a, const std::string& b) {
    return equal(value(a), value(b), {});
  };
  CHECK(same("1", "1"));
  CHECK(same("1", "1.0"));
  CHECK(same("true", "1"));
  CHECK_FALSE(same("100000000000000000001", "1e20"));
  CHECK(same("100000000000000000001", "100000000000000000001"));
  CHECK_FALSE(same("\"1\"", "1"));
  CHECK_FALSE(same("[1]", "1"));
  CHECK(same(R"({"a": 1, "b": 2})", R"({"b": 2, "a": 1})"));
  PyValue bad;
  CHECK_FALSE(parse_value("[1", true, bad));
  CHECK_FALSE(parse_value(std::string(1000, '['), true, bad));
}

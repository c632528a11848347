// Grades programs by running them against hidden tests in the sandbox. Inputs go in, plain values
// come out over a private channel with a nonce, and they are compared here: expected values never
// enter the sandbox.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"
#include "rewards/code/sandbox_pool.h"
#include "rewards/code/value.h"

namespace zeroth {

// One test of a function, or one run of a program.
struct CodeTest {
  enum class Op { kEqual, kClose, kTruthy, kFalsy, kWeak, kOutput } op = Op::kEqual;
  std::string call;  // Python expression that calls the submission; weak: the test's source
  std::vector<PyValue> arguments;  // used when `call` is empty: entry(*arguments)
  PyValue expected;
  double tolerance = 0;       // kClose
  std::string input, output;  // kOutput
};

struct CodeTests {
  std::string language = "python";  // or "cpp": stdin/stdout tests only
  std::string entry;                // name of the function under test
  std::string setup;                // imports that the tests' authors run before the submission
  std::vector<CodeTest> tests;
  bool json_values = false;  // expected values came from JSON: lists and tuples are not told apart
  bool weak() const;         // some test runs beside the submission and could be fooled by it
};

// Compiling has its own time, on top of the limit.
inline constexpr double kCompileSeconds = 10;

struct CodeOptions {
  SandboxLimits limits;
  bool partial_credit = false;  // score = share of tests passed; else all or nothing
};

struct CodeVerdict {
  double score = 0;
  Reason reason = Reason::kNone;  // kCheckerError: no verdict, mask the sample
  int passed = 0, total = 0;
  bool weak = false;
  double seconds = 0;
  double waited_seconds = 0;  // of these, waiting for a core: not counted against the limit
  std::string detail;         // first failing test or error, at most 200 bytes
};

// Tests of problems from the fields of their data rows, given as JSON text so that integers keep
// their digits:
//   {"tests": {"entry_point", "calls", "expected_values"}} or the same fields at the top level
//   {"tests": {"inputs", "outputs"[, "fn_name"]}}             programs (or functions when fn_name
//   is given)
//   {"tests": "assert ..", "entry_point"}, {"test_list": [..]}, {"asserts": [..]}   asserts (MBPP)
//   {"test": "def check(candidate): ..", "entry_point"}        HumanEval
// Asserts are taken apart by Python in a sandbox of their own. Throws Error naming the field on
// malformed rows.
struct LoadedTests {
  CodeTests tests;
  std::string error;  // the row is malformed: names the field
};
std::vector<LoadedTests> load_code_tests(const std::vector<std::string>& rows, SandboxPool& pool);

// The program of a row: "program"; or "prompt" + "completion" (HumanEval). Empty when absent.
std::string program_of_row(std::string_view row_json);

struct CodeSubmission {
  std::string program;
  const CodeTests* tests = nullptr;
};

// Grades a batch; verdicts in order. Refuses (Error) when the sandbox's required layers do not
// hold.
std::vector<CodeVerdict> grade_code(const std::vector<CodeSubmission>& submissions,
                                    const CodeOptions& options, SandboxPool& pool);

}  // namespace zeroth

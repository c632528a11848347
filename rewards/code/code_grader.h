// Grades programs by running them against hidden tests in the sandbox. What judges a submission is
// no part of its process: calls and inputs go in, plain values come out, and they are compared
// here, or, where the tests are Python, in a process of their own that asks the submission.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"
#include "rewards/code/value.h"
#include "rewards/sandbox/sandbox_pool.h"

namespace zeroth {

// One call of a function, or one run of a program.
struct CodeTest {
  std::string call;                // Python source of the call: entry and literals
  std::vector<PyValue> arguments;  // when `call` is empty: entry(*arguments)
  PyValue expected;
  std::string input, output;  // of a program
};

struct CodeTests {
  // kValues: calls whose values are compared here; kPrograms: standard input and output; kJudged:
  // Python tests, run beside the submission by harness.py.
  enum class Kind { kValues, kPrograms, kJudged } kind = Kind::kValues;
  std::string language = "python";  // or "cpp": kPrograms only
  std::string entry;                // name of the function under test
  std::string given;                // code of the problem: imports and helpers, empty when prose
  std::string setup;                // imports that the tests' authors run before the submission
  std::vector<CodeTest> tests;      // kValues, kPrograms
  std::string judged;               // kJudged: what rewriter.py made of the tests, JSON
  int judged_total = 0;             // kJudged: number of tests as counted when loaded
  bool keeps_classes = false, captures = false;  // kJudged; see harness.py
  bool from_json = false;      // kValues: expected values are JSON; see CompareOptions
  bool maybe_wrapped = false;  // kValues: each expected value is a list of one, which APPS uses to
                               // wrap the value itself; both readings are right, one for all tests
  bool prelude = false;        // kValues: names that competitions import are there (List, deque)
  bool packages = false;       // installed Python packages are needed
  bool weak = false;      // the submission could answer for its tests: they run in its process,
                          // or cannot fail
  double time_limit = 0;  // seconds of a test as the row says; 0: it does not
  int total() const;      // number of tests
};

// Compiling has its own time, on top of the limit.
inline constexpr double kCompileSeconds = 10;

struct CodeOptions {
  SandboxLimits limits;               // wall_seconds is for one test
  double total_seconds = 60;          // of all tests of a program
  bool partial_credit = false;        // score = share of tests passed; else all or nothing
  std::vector<std::string> packages;  // folders of Python packages; empty: those of the system
};

struct CodeVerdict {
  double score = 0;
  Reason reason = Reason::kNone;  // kCheckerError: no verdict, mask the sample
  int passed = 0, total = 0;
  // The tests could be fooled (CodeTests::weak), or an object of the submission answered for itself
  // how it compares to others.
  bool weak = false;
  double seconds = 0;
  double waited_seconds = 0;  // of these, waiting for a core: not counted against the limit
  std::string detail;         // first failing test or error, at most 200 bytes
};

// Tests of problems from the columns of their data rows, given as JSON text so that integers keep
// their digits. docs/tasks.md lists the columns and data sets. Tests that are Python are taken
// apart in a sandbox of their own. Tests that check nothing, that nothing would run, or that need
// what is not installed are refused by name.
struct LoadedTests {
  CodeTests tests;
  std::string error;  // the row is malformed or refused: names the field or what is missing
};
std::vector<LoadedTests> load_code_tests(const std::vector<std::string>& rows, SandboxPool& pool);

struct CodeSubmission {
  std::string program;
  const CodeTests* tests = nullptr;
};

// Grades a batch; verdicts in order. Refuses (Error) when the sandbox's required layers do not
// hold.
std::vector<CodeVerdict> grade_code(const std::vector<CodeSubmission>& submissions,
                                    const CodeOptions& options, SandboxPool& pool);

}  // namespace zeroth

#include "rewards/code/code_grader.h"

#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <sstream>

#include "core/error.h"
#include "rewards/code/job.h"

namespace zeroth {
namespace {

std::string shorten(std::string text) {
  if (text.size() > 200) text.resize(200);
  return text;
}

// Whitespace-separated tokens decide, as in programming contests.
bool same_output(const std::string& a, const std::string& b) {
  std::istringstream left(a), right(b);
  std::string x, y;
  for (;;) {
    const bool more = static_cast<bool>(left >> x), also = static_cast<bool>(right >> y);
    if (!more || !also) return more == also;
    if (x != y) return false;
  }
}

bool passes(const CodeTest& test, const PyValue& value, const CodeTests& tests) {
  switch (test.op) {
    case CodeTest::Op::kEqual: {
      CompareOptions options;
      options.sequence_types = !tests.json_values;
      return equal(value, test.expected, options);
    }
    case CodeTest::Op::kClose:
      return close(value, test.expected, test.tolerance);
    case CodeTest::Op::kTruthy:
      return truthy(value);
    case CodeTest::Op::kFalsy:
      return !truthy(value);
    case CodeTest::Op::kOutput:
      return value.kind == PyValue::Kind::kString && same_output(value.text, test.output);
    case CodeTest::Op::kWeak:
      return false;
  }
  return false;
}

Reason reason_of_end(const SandboxResult& result) {
  switch (result.status) {
    case SandboxResult::Status::kTimeout:
      return Reason::kTimeout;
    case SandboxResult::Status::kOutputLimit:
      return Reason::kSandboxKilled;
    case SandboxResult::Status::kInfrastructure:
      return Reason::kCheckerError;
    case SandboxResult::Status::kExited:
      break;
  }
  if (result.out_of_memory || result.signal == SIGKILL) return Reason::kSandboxKilled;
  return Reason::kRuntimeError;
}

// What the runner said about each test, in the order of CodeTests::tests.
struct Report {
  std::vector<char> passed, answered;
  bool done = false;
  std::string problem;
};

Report read_report(const SandboxResult& result, const std::string& nonce, const CodeTests& tests) {
  Report report;
  report.passed.assign(tests.tests.size(), 0);
  report.answered.assign(tests.tests.size(), 0);
  // Calls and weak tests are numbered apart by the runner.
  std::vector<size_t> strong, weak;
  for (size_t i = 0; i < tests.tests.size(); ++i) {
    (tests.tests[i].op == CodeTest::Op::kWeak ? weak : strong).push_back(i);
  }
  std::istringstream lines(result.report);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, nonce.size() + 1, nonce + " ") != 0) continue;
    std::istringstream words(line.substr(nonce.size() + 1));
    std::string first, kind;
    words >> first;
    if (first == "done") report.done = true;
    if (first == "program" && report.problem.empty()) words >> report.problem;
    if (first.empty() || !std::isdigit(static_cast<unsigned char>(first[0])) || first.size() > 8)
      continue;
    words >> kind;
    const std::vector<size_t>& numbers = kind == "w" ? weak : strong;
    const size_t number = std::stoul(first);
    if (number >= numbers.size()) continue;
    const size_t index = numbers[number];
    if (report.answered[index]) continue;  // only the first word counts
    report.answered[index] = 1;
    std::string rest;
    std::getline(words, rest);
    if (kind == "w") {
      report.passed[index] = rest == " ok";
    } else if (kind == "v") {
      PyValue value;
      report.passed[index] =
          parse_value(rest, false, value) && passes(tests.tests[index], value, tests);
    }
    if (!report.passed[index] && report.problem.empty()) {
      report.problem =
          "test " + std::to_string(index + 1) + (kind == "v" ? ": wrong value" + rest : ":" + rest);
    }
  }
  return report;
}

CodeVerdict verdict_of(const SandboxResult& result, const std::string& nonce,
                       const CodeTests& tests, const CodeOptions& options) {
  CodeVerdict verdict;
  verdict.total = static_cast<int>(tests.tests.size());
  verdict.weak = tests.weak();
  verdict.seconds = result.seconds;
  verdict.waited_seconds = result.waited_seconds;
  if (result.status == SandboxResult::Status::kInfrastructure) {
    verdict.reason = Reason::kCheckerError;
    verdict.detail = shorten(result.error);
    return verdict;
  }
  const Report report = read_report(result, nonce, tests);
  verdict.passed = static_cast<int>(std::count(report.passed.begin(), report.passed.end(), 1));
  verdict.detail = shorten(report.problem);
  // A job that did not come to its end fails as a whole, whatever it said before: exiting is no
  // answer.
  const bool complete =
      report.done && result.status == SandboxResult::Status::kExited && result.signal == 0;
  if (complete && verdict.passed == verdict.total && verdict.total > 0) {
    verdict.score = 1;
    verdict.reason = Reason::kCorrect;
    return verdict;
  }
  // What the program did not bring about is no failure of its own.
  if (result.starved || !result.disturbed.empty()) {
    verdict.reason = Reason::kCheckerError;
    verdict.detail = result.starved ? "its worker was stopped at its deadline, three times"
                                    : shorten(result.disturbed);
    return verdict;
  }
  if (options.partial_credit && complete && verdict.total > 0)
    verdict.score = static_cast<double>(verdict.passed) / verdict.total;
  const bool answered = std::count(report.answered.begin(), report.answered.end(), 1) > 0;
  verdict.reason = complete && answered ? Reason::kWrong : reason_of_end(result);
  if (report.problem == "SyntaxError" || report.problem == "IndentationError")
    verdict.reason = Reason::kParseError;
  if (verdict.detail.empty())
    verdict.detail = std::string("ended early: ") + to_string(verdict.reason);
  return verdict;
}

// A program that timed out while its worker was stopped, or failed while the machine ran out of
// memory, gets more chances, alone: the last verdict stands.
void rerun_disturbed(const std::vector<SandboxJob>& jobs, SandboxPool& pool,
                     std::vector<SandboxResult>& results) {
  constexpr int kMoreChances = 2;
  for (size_t k = 0; k < results.size(); ++k) {
    for (int i = 0; i < kMoreChances && (results[k].starved || !results[k].disturbed.empty()); ++i)
      results[k] = std::move(pool.run({jobs[k]})[0]);
  }
}

}  // namespace

bool CodeTests::weak() const {
  return std::any_of(tests.begin(), tests.end(),
                     [](const CodeTest& t) { return t.op == CodeTest::Op::kWeak; });
}

std::string make_nonce() {
  unsigned char bytes[16];
  if (::getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
    fail("the system has no random bytes", "");
  std::string text;
  for (unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::vector<CodeVerdict> grade_code(const std::vector<CodeSubmission>& submissions,
                                    const CodeOptions& options, SandboxPool& pool) {
  const SandboxProbe& probe = probe_sandbox();
  if (!probe.sufficient()) {
    fail("the code sandbox is not safe on this machine:\n" + probe.text(),
         "run on a kernel that allows user namespaces and seccomp (Debian: sysctl "
         "kernel.unprivileged_userns_clone=1)");
  }
  std::vector<std::string> nonces(submissions.size());
  std::vector<SandboxJob> jobs(submissions.size());
  for (size_t i = 0; i < submissions.size(); ++i) {
    nonces[i] = make_nonce();
    jobs[i] = make_code_job(submissions[i], nonces[i], options, probe.python);
  }
  std::vector<SandboxResult> results = pool.run(jobs);
  rerun_disturbed(jobs, pool, results);
  std::vector<CodeVerdict> verdicts(submissions.size());
  for (size_t i = 0; i < submissions.size(); ++i) {
    const CodeTests& tests = *submissions[i].tests;
    if (submissions[i].program.find_first_not_of(" \t\r\n") == std::string::npos) {
      verdicts[i].reason = Reason::kNoAnswer;
      verdicts[i].total = static_cast<int>(tests.tests.size());
      continue;
    }
    verdicts[i] = verdict_of(results[i], nonces[i], tests, options);
  }
  return verdicts;
}

}  // namespace zeroth

#include "rewards/code/code_grader.h"

#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <sstream>

#include "core/error.h"
#include "rewards/code/job.h"
#include "rewards/code/output.h"

namespace zeroth {
namespace {

// What data sets in JSON write of a float: about as many digits as a program prints.
constexpr double kJsonFloats = 1e-6;

std::string shorten(std::string text) {
  if (text.size() > 200) text.resize(200);
  return text;
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

// What the judging process said about each test. Only it can write to the channel and knows the
// nonce.
struct Report {
  std::vector<char> passed, answered;
  bool done = false, weak = false;
  bool unchecked = false;  // Python tests came to their end without a check
  bool uncalled = false;   // .. and without asking the submission
  std::string problem;
};

// A value that came back against its expectation, in both readings of a list of one.
struct Reading {
  bool as_it_is = false, unwrapped = false;
};

Reading compare(const PyValue& value, const CodeTest& test, const CodeTests& tests) {
  const CompareOptions options{.from_json = tests.from_json,
                               .float_tolerance = tests.from_json ? kJsonFloats : 0};
  return {equal(value, test.expected, options),
          tests.maybe_wrapped && equal(value, test.expected.items.at(0), options)};
}

class ReportReader {
 public:
  explicit ReportReader(const CodeTests& tests)
      : tests_(tests),
        judged_(tests.kind == CodeTests::Kind::kJudged),
        unwrapped_(tests.maybe_wrapped) {
    resize(judged_ ? 0 : tests.tests.size());
  }

  Report read(const std::string& text, const std::string& nonce) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.compare(0, nonce.size() + 1, nonce + " ") == 0) take(line.substr(nonce.size() + 1));
    }
    // Every value must be right in the same reading.
    const bool all_wrapped =
        std::all_of(unwrapped_.begin(), unwrapped_.end(), [](char c) { return c; });
    if (tests_.maybe_wrapped && all_wrapped && report_.done)
      report_.passed.assign(unwrapped_.size(), 1);
    return std::move(report_);
  }

 private:
  void resize(size_t n) {
    report_.passed.resize(n, 0);
    report_.answered.resize(n, 0);
    unwrapped_.resize(n, 0);
  }

  void take(const std::string& line) {
    std::istringstream words(line);
    std::string first, kind, rest;
    words >> first;
    if (first == "done") report_.done = true;
    if (first == "weak") report_.weak = true;
    if (first == "unchecked") report_.unchecked = true;
    if (first == "uncalled") report_.uncalled = true;
    if (first == "program" && report_.problem.empty()) words >> report_.problem;
    if (first.empty() || !std::isdigit(static_cast<unsigned char>(first[0])) || first.size() > 8)
      return;
    words >> kind;
    std::getline(words, rest);
    if (!rest.empty()) rest.erase(0, 1);
    const size_t index = std::stoul(first);
    if (judged_ && index == report_.passed.size()) resize(index + 1);
    if (index >= report_.passed.size() || report_.answered[index]) return;
    report_.answered[index] = 1;
    report_.passed[index] = kind == "u" ? rest == "ok" : kind == "v" && right(rest, index);
    if (report_.passed[index] || !report_.problem.empty()) return;
    report_.problem =
        "test " + std::to_string(index + 1) + ": " + (kind == "v" ? "wrong value " : "") + rest;
  }

  bool right(const std::string& text, size_t index) {
    const CodeTest& test = tests_.tests[index];
    PyValue value;
    if (!parse_value(text, false, value)) return false;
    if (tests_.kind == CodeTests::Kind::kPrograms)
      return value.kind == PyValue::Kind::kString && same_output(value.text, test.output);
    const Reading reading = compare(value, test, tests_);
    unwrapped_[index] = reading.unwrapped;
    return reading.as_it_is;
  }

  const CodeTests& tests_;
  const bool judged_;
  std::vector<char> unwrapped_;
  Report report_;
};

CodeVerdict verdict_of(const SandboxResult& result, const std::string& nonce,
                       const CodeTests& tests, const CodeOptions& options) {
  CodeVerdict verdict;
  verdict.total = tests.total();
  verdict.weak = tests.weak;
  verdict.seconds = result.seconds;
  verdict.waited_seconds = result.waited_seconds;
  if (result.status == SandboxResult::Status::kInfrastructure) {
    verdict.reason = Reason::kCheckerError;
    verdict.detail = shorten(result.error);
    return verdict;
  }
  const Report report = ReportReader(tests).read(result.report, nonce);
  verdict.weak |= report.weak;
  verdict.passed = static_cast<int>(std::count(report.passed.begin(), report.passed.end(), 1));
  verdict.detail = shorten(report.problem);
  // A job that did not come to its end fails as a whole, whatever it said before: exiting is no
  // answer.
  const bool complete =
      report.done && result.status == SandboxResult::Status::kExited && result.signal == 0;
  if (complete && tests.kind == CodeTests::Kind::kJudged)
    verdict.total = static_cast<int>(report.passed.size());
  if (complete && (report.unchecked || report.uncalled)) {
    // Loops over what the submission returned may be empty; that it was never asked is the row's.
    verdict.passed = 0;
    verdict.reason = report.uncalled ? Reason::kBadGold : Reason::kWrong;
    if (verdict.detail.empty())
      verdict.detail = report.uncalled ? "the tests never ask the program" : "no check was reached";
    return verdict;
  }
  if (complete && verdict.passed == verdict.total && verdict.total > 0) {
    verdict.score = 1;
    verdict.reason = Reason::kCorrect;
    verdict.detail.clear();
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
  if (report.problem == "SyntaxError" || report.problem == "IndentationError" ||
      report.problem == "TabError")
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

int CodeTests::total() const {
  return kind == Kind::kJudged ? judged_total : static_cast<int>(tests.size());
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
  std::vector<CodeVerdict> verdicts(submissions.size());
  std::vector<std::string> nonces;
  std::vector<SandboxJob> jobs;
  std::vector<size_t> places;
  for (size_t i = 0; i < submissions.size(); ++i) {
    if (submissions[i].program.find_first_not_of(" \t\r\n") == std::string::npos) {
      verdicts[i].reason = Reason::kNoAnswer;
      verdicts[i].total = submissions[i].tests->total();
      continue;
    }
    places.push_back(i);
    nonces.push_back(make_nonce());
    jobs.push_back(make_code_job(submissions[i], nonces.back(), options, probe.python));
  }
  std::vector<SandboxResult> results = pool.run(jobs);
  rerun_disturbed(jobs, pool, results);
  for (size_t k = 0; k < places.size(); ++k)
    verdicts[places[k]] = verdict_of(results[k], nonces[k], *submissions[places[k]].tests, options);
  return verdicts;
}

}  // namespace zeroth

#include "core/trajectory.h"

namespace zeroth {

const char* to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kAborted:
      return "aborted";
  }
  return "unknown";
}

const char* to_string(Reason reason) {
  switch (reason) {
    case Reason::kNone:
      return "none";
    case Reason::kCorrect:
      return "correct";
    case Reason::kWrong:
      return "wrong";
    case Reason::kNoAnswer:
      return "no_answer";
    case Reason::kParseError:
      return "parse_error";
    case Reason::kIllegal:
      return "illegal";
    case Reason::kFormatOk:
      return "format_ok";
    case Reason::kFormatBad:
      return "format_bad";
    case Reason::kTruncated:
      return "truncated";
    case Reason::kTimeout:
      return "timeout";
    case Reason::kSandboxKilled:
      return "sandbox_killed";
    case Reason::kRuntimeError:
      return "runtime_error";
    case Reason::kOverBudget:
      return "over_budget";
    case Reason::kBadGold:
      return "bad_gold";
    case Reason::kCheckerError:
      return "checker_error";
    case Reason::kShaped:
      return "shaped";
    case Reason::kNotApplicable:
      return "not_applicable";
  }
  return "unknown";
}

}  // namespace zeroth

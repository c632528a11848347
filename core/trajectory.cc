#include "core/trajectory.h"

#include <algorithm>

namespace zeroth {

std::vector<uint8_t> drawn_mask(const Sample& sample) {
  std::vector<uint8_t> mask;
  for (const Turn& turn : sample.turns) {
    if (turn.next == turn.end) continue;
    mask.resize(sample.tokens.size(), 1);
    std::fill(mask.begin() + turn.end, mask.begin() + turn.next, uint8_t{0});
  }
  return mask;
}

std::vector<TokenId> drawn_ids(const Sample& sample) {
  std::vector<TokenId> ids;
  int32_t begin = 0;
  for (const Turn& turn : sample.turns) {
    ids.insert(ids.end(), sample.tokens.begin() + begin, sample.tokens.begin() + turn.end);
    begin = turn.next;
  }
  ids.insert(ids.end(), sample.tokens.begin() + begin, sample.tokens.end());
  return ids;
}

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

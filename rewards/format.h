// The R1-Zero response format: one <think> block, then one <answer> block, nothing else.
// Format is judged apart from accuracy, so that learning the tags never looks like learning to
// reason.
#pragma once

#include <string_view>

#include "core/ascii.h"
#include "core/trajectory.h"

namespace zeroth {

struct FormatRules {
  // The prompt already holds the opening <think>; the completion must not repeat it.
  bool think_opened = false;
  // A think block of blanks only is well formed.
  bool empty_think = true;
  // Generation stopped at "</answer>", which was cut off; a completion that ends inside its answer
  // is complete.
  bool stopped_at_answer = false;
};

// Where the blocks of a response are. Views point into the completion.
struct ResponseParts {
  // kNone: exactly one answer after the thinking. Otherwise kNoAnswer: none, unterminated, only
  // inside the thinking, or more than one (several answers are a hedge, and count as none).
  Reason reason = Reason::kNone;
  const char* why = "";  // one of a fixed set of short texts, empty when reason is kNone
  std::string_view
      think;  // text of the first think block, without tags; an unclosed block runs to the end
  bool think_closed = false;
  std::string_view answer;  // trimmed text of the answer block; empty unless reason is kNone
};

// Splits a completion at its tags. Linear time, no allocation, total.
ResponseParts split_response(std::string_view completion, const FormatRules& rules);

// Score 1 (kFormatOk) when the completion is blanks, <think>..</think>, blanks,
// <answer>..</answer>, blanks with every tag exactly once and an answer that is not blank; else 0
// with kFormatBad (kTruncated when the length limit cut it) and info {"why"}. With think_opened the
// opening tag counts as already seen.
Verdict check_format(std::string_view completion, const FormatRules& rules, FinishReason finish);

using ascii::trim;

}  // namespace zeroth

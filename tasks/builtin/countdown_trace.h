// Reads the tries out of a Countdown response: what was tried, what was claimed, how it was judged.
//
// A try is a line, or what stands between two "wait": operations "a op b=c" one after the other,
// each using given numbers or earlier results, then optionally "->TARGET" and a verdict "ok" or
// "no":
//   9+6=15 15+9=24->24ok
// One larger expression "(9+6)+9=24 no" is read the same way.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/expression.h"

namespace zeroth {

enum class TryVerdict { kMissing, kOk, kNo };

struct TraceTry {
  size_t begin = 0, end = 0;  // bytes in the text that was parsed
  std::string expression;  // one formula over the given numbers; empty when the try does not parse
  std::optional<int64_t> claimed;  // the last stated result
  std::optional<Rational> value;   // the true value of `expression`
  TryVerdict verdict = TryVerdict::kMissing;
  bool legal = false;  // parses, and uses every given number exactly once
  bool duplicate =
      false;  // the same formula as an earlier try, up to the order of sums and products
  bool after_wait = false;
  int steps = 0,
      steps_right =
          0;  // operations with a stated result; those whose result is right for its operands

  bool hits(int64_t target) const { return legal && value == Rational{target, 1}; }
  bool claims(int64_t target) const { return claimed == target; }
};

struct CountdownTrace {
  std::vector<TraceTry> tries;  // at most kMaxTries
  int waits = 0;                // the word "wait", any case
  static constexpr int kMaxTries = 1000;
};

// `think` is the text of the think block. Linear in its length (up to the size limits of
// expressions). Total.
CountdownTrace parse_countdown_trace(std::string_view think, std::span<const int64_t> numbers);

// The facts that become metrics, all counts:
//   tries, duplicate_tries, illegal_tries, steps, steps_right, verdicts, verdicts_right (ok exactly
//   when the claimed result is the target), wait, and right_after_wrong_try: 1 when the answer is
//   right and an earlier, different try was truly wrong and judged wrong.
Json countdown_facts(const CountdownTrace& trace, int64_t target, bool answer_right);

}  // namespace zeroth

#include "rewards/rubric.h"

#include <algorithm>
#include <utility>

namespace zeroth {
namespace {

// Whether the verdicts leave a sample without a reward: one that should have a score has none, or
// none says anything about it.
bool unrewarded(const std::vector<Verdict>& verdicts) {
  bool silent = false, spoken = false;  // rewards that do not apply, and those that do
  for (const Verdict& verdict : verdicts) {
    if (has_score(verdict.reason)) {
      spoken |= verdict.weight != 0;
    } else if (verdict.reason == Reason::kNotApplicable) {
      silent = true;
    } else {
      return true;
    }
  }
  return silent && !spoken;
}

Verdict overlong_verdict(const OverlongConfig& overlong, int max_tokens, const Sample& sample) {
  const double over = static_cast<double>(drawn_tokens(sample)) - (max_tokens - overlong.buffer);
  Verdict verdict;
  verdict.name = "overlong";
  verdict.score = -overlong.penalty * std::clamp(over / overlong.buffer, 0.0, 1.0);
  verdict.reason = Reason::kShaped;
  return verdict;
}

}  // namespace

void Rubric::apply(std::vector<std::vector<Verdict>> verdicts, Group& group) const {
  for (size_t i = 0; i < group.samples.size(); ++i) {
    Sample& sample = group.samples[i];
    sample.verdicts = std::move(verdicts[i]);
    if (overlong.buffer > 0) {
      sample.verdicts.push_back(overlong_verdict(overlong, max_tokens, sample));
    }
    sample.masked = sample.finish == FinishReason::kAborted ||
                    (overlong.mask && sample.finish == FinishReason::kLength) ||
                    unrewarded(sample.verdicts);
  }
  shape_group(shaping, max_tokens, group);
  rank_group(shaping, group);
  for (Sample& sample : group.samples) {
    sample.reward = 0;
    for (const Verdict& verdict : sample.verdicts) {
      if (has_score(verdict.reason)) sample.reward += verdict.score * verdict.weight;
    }
  }
}

}  // namespace zeroth

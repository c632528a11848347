// Group-relative advantages: how much better a sample did than its siblings. No critic.
#pragma once

#include <string>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// r: rewards of the unmasked samples of a group, n their number, m their mean, s their standard
// deviation. Sources: docs/algorithms.md.
//
// mean                 r - m
// mean_std_population  (r - m) / (s + std_epsilon), s over n
// mean_std_sample      (r - m) / (s + std_epsilon), s over n - 1
// leave_one_out        r - mean of the others = (r - m) n / (n - 1)
struct AdvantageConfig {
  std::string baseline = "mean";
  double std_epsilon = 1e-4;
  bool per_reward = false;

  template <class V>
  void fields(V& v) {
    v("baseline", baseline, "advantage of a sample within its group",
      Choice{{"mean", "mean_std_population", "mean_std_sample", "leave_one_out"}});
    v("std_epsilon", std_epsilon, "added to a standard deviation before dividing by it",
      Range{0, 1});
    v("per_reward", per_reward,
      "normalise each reward in its group first, then weigh, sum and normalise over the batch "
      "(GDPO)");
  }
};

// Fills Sample::advantage and Group::zero_variance. Masked samples neither count nor get an
// advantage (0). A group whose unmasked rewards are all equal, up to 1e-12 of their size (0.3 and
// 0.1 + 0.2 are), gets exactly 0 everywhere, as does one with fewer than two unmasked samples. With per_reward (GDPO, arXiv
// 2601.05242: sample standard deviations) `baseline` is not used, rewards of different samples are
// matched by Verdict::name, and zero_variance means that every reward is constant in the group.
// Rewards must be finite (Error otherwise: a defect of a checker). Pure; thread safe.
void assign_advantages(std::vector<Group>& groups, const AdvantageConfig& config);

}  // namespace zeroth

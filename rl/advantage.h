// Group-relative advantages: how much better a sample did than its siblings. No critic.
#pragma once

#include <string>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// What a reward is compared with. r: rewards of the unmasked samples of a group, n their number, m
// their mean, s their standard deviation. Sources: docs/algorithms.md.
enum class Baseline {
  kNone,               // r
  kMean,               // r - m
  kMeanStdPopulation,  // (r - m) / (s + std_epsilon), s over n
  kMeanStdSample,      // (r - m) / (s + std_epsilon), s over n - 1
  kLeaveOneOut,        // r - mean of the others = (r - m) n / (n - 1)
  kPassAtK,            // the best of k: see pass_at_k_advantages
};

// What the samples of a batch are scaled by together.
enum class Normalization {
  kNone,
  kBatchRewards,     // A / (standard deviation of all rewards + std_epsilon)
  kBatchAdvantages,  // (A - mean of all A) / (standard deviation of all A + std_epsilon)
};

// What is rewarded.
enum class Supervision {
  kOutcome,  // the sample
  kProcess,  // every step of it, and the whole at its end: rl/process_supervision.h
  kTurns,    // every turn of it, and the whole: likewise
};

struct AdvantageConfig {
  static constexpr double kNoBound = 1e9;  // of rewards
  std::string baseline = "mean";
  int pass_k = 4;
  std::string normalize = "none";
  double std_epsilon = 1e-4;
  double reward_min = -kNoBound;
  double reward_max = kNoBound;
  bool per_reward = false;
  bool scale_by_signal = false;
  std::string supervision = "outcome";
  double step_weight = 1;

  template <class V>
  void fields(V& v) {
    v("baseline", baseline, "advantage of a sample within its group",
      Choice{{"none", "mean", "mean_std_population", "mean_std_sample", "leave_one_out",
              "pass_at_k"}});
    v("pass_k", pass_k, "k of pass_at_k: samples of which the best one counts", Range{1, 65536});
    v("normalize", normalize,
      "division by the standard deviation of the whole batch's rewards, or of its advantages, "
      "whose "
      "mean is taken off (REINFORCE++)",
      Choice{{"none", "batch_rewards", "batch_advantages"}});
    v("std_epsilon", std_epsilon, "added to a standard deviation before dividing by it",
      Range{0, 1});
    v("reward_min", reward_min, "lower rewards count as this one; -1e9 = no bound",
      Range{-kNoBound, kNoBound});
    v("reward_max", reward_max, "higher rewards count as this one; 1e9 = no bound",
      Range{-kNoBound, kNoBound});
    v("per_reward", per_reward,
      "normalise each reward in its group first, then weigh, sum and normalise over the batch "
      "(GDPO)");
    v("scale_by_signal", scale_by_signal,
      "multiply by samples / samples of groups with a signal, so that groups without one do not "
      "thin the update (GPG)");
    v("supervision", supervision,
      "one advantage a sample, or for every token the normalised rewards of the steps that end "
      "behind it: equations of the text that hold or not, or what a checker says of steps "
      "(process, DeepSeekMath's), or what an environment pays for turns (turns, MT-GRPO)",
      Choice{{"outcome", "process", "turns"}});
    v("step_weight", step_weight,
      "process: reward of a step that is right; turns: weight of the turns' normalised rewards",
      Range{0, 1e6});
  }

  Baseline baseline_kind() const;
  Normalization normalization() const;
  Supervision supervision_kind() const;
  // Fields that contradict each other are usage Errors.
  void check() const;
};

// Fills Sample::advantage and Group::zero_variance. Masked samples neither count nor get an
// advantage (0). A group whose unmasked rewards are all equal, up to 1e-12 of their size (0.3 and
// 0.1 + 0.2 are), gets exactly 0 everywhere, as does one with fewer than two unmasked samples; with
// Baseline::kNone a group has no signal where all its advantages are 0. With per_reward (GDPO, arXiv
// 2601.05242: sample standard deviations) `baseline` is not used, rewards of different samples are
// matched by Verdict::name, and zero_variance means that every reward is constant in the group.
// Without Supervision::kOutcome an advantage is that of the sample's first token.
// Rewards must be finite (Error otherwise: a defect of a checker). Pure; thread safe.
void assign_advantages(std::vector<Group>& groups, const AdvantageConfig& config);

// Pass@k training (arXiv 2508.10751), for any rewards: a set of k samples is worth its best reward,
// A of a sample = the mean over the sets that hold it of (best - mean of all sets) / (population
// standard deviation of all sets + epsilon). With k = 1 that is kMeanStdPopulation. Sums to 0;
// zeros when all sets are worth the same. k above the number of rewards counts as that. Analytic, in
// O(n log n).
std::vector<double> pass_at_k_advantages(const std::vector<double>& rewards, int k, double epsilon);

}  // namespace zeroth

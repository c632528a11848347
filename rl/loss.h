// Policy-gradient losses on per-token log-probabilities: pure functions that return the loss and
// its gradient. Equations, with their sources, of every objective, aggregation, level and
// correction: docs/algorithms.md.
#pragma once

#include <cstdint>
#include <span>

#include "rl/loss_config.h"

namespace zeroth {

// What aggregation needs to know about the whole mini-batch; every count is of loss tokens
// (unmasked samples).
struct LossScope {
  double tokens = 0;          // T
  double step_tokens = 0;     // T': tokens of the whole step / number of mini-batches
  double samples = 0;         // B
  double max_tokens = 0;      // longest completion allowed (dr_grpo)
  double entropy_tokens = 0;  // tokens that the entropy bonus acts on; T without a quantile
};

// One sample. All spans have one entry per token, or are empty where the comment says so.
struct SampleTerms {
  std::span<const float> logprob;      // lp: under the policy that learns
  std::span<const float> old_logprob;  // old: what ratios compare with
  std::span<const float> ref_logprob;  // empty when beta is 0
  std::span<const uint8_t> keep;  // 0: no policy gradient, but KL (top_entropy_quantile); empty = 1
  double advantage = 0;
  // Under the policy that sampled; empty: the same as old. NaN: unknown for this token.
  std::span<const float> sampler_logprob = {};
  std::span<const uint8_t> mask = {};  // 0: not the policy's token, no part of anything; empty = 1
  // In place of `advantage` where tokens have their own (process supervision); empty: it is of all.
  std::span<const double> token_advantage = {};
  std::span<const uint8_t> covariant = {};  // 1: chosen by loss.covariance; empty = 0
};

// Sums over what was added so far; means are taken over `tokens` (or `samples` at sequence level).
struct LossStats {
  double loss = 0;  // with the KL, without the entropy bonus
  double policy_loss = 0;
  double kl = 0;  // sum over tokens of k3 (weighted when configured)
  double ratio = 0, ratio_min = 1e300, ratio_max = -1e300;
  // Counts of ratios, tokens or samples by level.
  double clipped_low = 0, clipped_high = 0;
  double clipped_low_min = 1e300, clipped_high_max = -1e300;  // share within a sample
  double ratios = 0;                                          // number of ratios
  double tokens = 0, samples = 0, off_policy_dropped = 0;
  // The correction's weights w after truncation or masking, tokens or samples by its kind: their
  // number, sum and sum of squares (effective sample size = sum^2 / squares), and how many the
  // bounds changed.
  double weights = 0, weight_sum = 0, weight_squares = 0, weights_bounded = 0;
};

// The loss that a config describes. Immutable; const methods are thread safe for distinct outputs,
// deterministic, double precision inside.
class PolicyLoss {
 public:
  // The config must have passed LossConfig::check().
  explicit PolicyLoss(const LossConfig& config);

  // Adds the sample's share of the loss to `stats` and writes d loss / d logprob into `gradient`
  // [tokens].
  void add(const LossScope& scope, const SampleTerms& sample, std::span<double> gradient,
           LossStats& stats) const;

  // d (-coef * mean entropy) / d entropy of one token.
  static double entropy_gradient(const LossScope& scope, double coef) {
    return scope.entropy_tokens > 0 ? -coef / scope.entropy_tokens : 0;
  }

 private:
  double token_weight(const LossScope& scope, double n) const;

  LossConfig config_;
  LossRule rule_;
  Level level_;
  Correction correction_;
  Covariance covariance_;
};

// The entropy at and above which a token keeps its policy gradient: the quantile 1 - share of
// `entropies` (which it reorders), linear between order statistics as torch.quantile has it. arXiv
// 2506.01939. Needs at least one entropy.
float entropy_threshold(std::span<float> entropies, double share);

}  // namespace zeroth

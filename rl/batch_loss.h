// The loss of an update over its samples, by their log-probs and entropies.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "rl/loss.h"
#include "rl/step_report.h"

namespace zeroth {

// A value for every sample, as [group][sample].
template <class T>
using BySample = std::vector<std::vector<T>>;

template <class T>
void reset(BySample<T>& values, std::span<const Group> groups) {
  values.assign(groups.size(), {});
  for (size_t g = 0; g < groups.size(); ++g) values[g].resize(groups[g].samples.size());
}

// Use, for every step: begin_step(); for every update begin(), then add() for its samples in the
// order of the sum; end_step(). Not thread safe.
class BatchLoss {
 public:
  // `max_tokens`: of the longest completion. `mini_batches`: of an epoch.
  BatchLoss(const LossConfig& config, int64_t max_tokens, int mini_batches)
      : config_(config),
        loss_(config),
        max_tokens_(max_tokens),
        mini_batches_(mini_batches),
        entropy_coef_(config.entropy_coef) {}

  // Samples may be of older weights from now on (section async). `replays`: training takes the
  // experts that each token was drawn with (trainer.router_replay).
  void expect_older_weights(bool replays) {
    older_weights_ = true;
    replays_ = replays;
  }
  // The groups must outlive the step. `start`: version of the weights that it begins with.
  void begin_step(std::span<const Group> groups, WeightsVersion start);
  // Makes means of what add() left in the report as sums over the step's first update.
  void end_step(StepReport& report);

  // An update of these groups, by index; `step_tokens` as in UpdatePlan.
  void begin(std::span<const int32_t> order, double step_tokens);
  // The gradient of a sample's loss by its log-probs [tokens], until the next call; the loss goes
  // into `stats`.
  std::span<const double> differentiate(size_t group, size_t index, std::span<const float> logprobs,
                                        LossStats& stats);
  // The same, and the report learns all about the sample.
  std::span<const double> add(size_t group, size_t index, std::span<const float> logprobs,
                              std::span<const float> entropies, StepReport& report);
  // The entropy bonus: its gradient by the entropy of each token that keeps(), when wanted.
  bool wants_entropy() const { return bonus_ > 0; }
  double entropy_gradient() const { return PolicyLoss::entropy_gradient(scope_, bonus_); }
  bool keeps(size_t group, size_t index, int64_t token) const {
    if (!drawn(group, index, token)) return false;
    return config_.top_entropy_quantile >= 1 || kept_tokens_[group][index][token] != 0;
  }

  // Log-probs under the reference (beta > 0), and under the policy at the step's start (decoupled),
  // of every sample that has a loss. Filled between begin_step() and the first add().
  BySample<std::vector<float>> reference_logprobs, proximal_logprobs;
  // With process supervision, of every sample that has a loss; empty: Sample::advantage. Filled
  // likewise, before the first begin().
  BySample<std::vector<double>> token_advantages;

  // Where loss.entropy_target has brought the coefficient, for checkpoints.
  double entropy_coef() const { return entropy_coef_; }
  void set_entropy_coef(double coef) { entropy_coef_ = coef; }

 private:
  // Whether the policy drew the token: those of an environment are no part of anything.
  bool drawn(size_t group, size_t index, size_t token) const {
    return drawn_[group][index].empty() || drawn_[group][index][token] != 0;
  }
  double choose_tokens(std::span<const int32_t> order);
  void choose_covariant(std::span<const int32_t> order);
  std::span<const float> old_logprobs(size_t group, size_t index) const;
  double advantage(size_t group, size_t index, size_t token) const;
  SampleTerms terms_of(size_t group, size_t index, std::span<const float> logprobs) const;
  size_t same_from(const Sample& sample) const;
  void compare(size_t group, size_t index, std::span<const float> logprobs, StepReport& report);

  const LossConfig config_;
  const PolicyLoss loss_;
  const int64_t max_tokens_;
  const int mini_batches_;
  bool older_weights_ = false, replays_ = false;

  std::span<const Group> groups_;         // of the step
  BySample<std::vector<uint8_t>> drawn_;  // drawn_mask() of every sample
  WeightsVersion start_ = 0;
  int begun_ = 0;            // updates
  double first_tokens_ = 0;  // of the first one
  // Of probabilities in training / sampling, over its tokens.
  double ratio_sum_ = 0, ratio_squares_ = 0, ratio_tokens_ = 0;

  LossScope scope_;                             // of the update
  BySample<std::vector<uint8_t>> kept_tokens_;  // that top_entropy_quantile keeps
  BySample<std::vector<uint8_t>> covariant_;    // that loss.covariance chooses
  std::vector<double> gradient_;                // of the sample
  double entropy_coef_;                         // before the step
  double bonus_ = 0;                            // the coefficient of the step
  double sampled_entropy_ = -1;                 // nats a loss token of the step; -1: it has none
};

}  // namespace zeroth

#include "rl/loss.h"

#include <algorithm>
#include <cmath>

namespace zeroth {
namespace {

enum class Objective { kClipped, kCispo, kSapo };

Objective objective_of(const LossConfig& config) {
  if (config.type == "cispo") return Objective::kCispo;
  if (config.type == "sapo") return Objective::kSapo;
  return Objective::kClipped;
}

// Weight of one token of a sample with n tokens in the loss of the mini-batch.
double token_weight(const LossConfig& config, const LossScope& scope, double n) {
  const double samples = std::max(scope.samples, 1.0);
  if (config.type == "grpo" || config.type == "sapo") return 1 / (samples * n);
  if (config.type == "bnpo") return 1 / std::max(scope.tokens, 1.0);
  if (config.type == "dr_grpo") return 1 / (samples * scope.max_tokens);
  if (config.type == "luspo") return 1 / samples;
  return 1 / std::max(scope.step_tokens, 1.0);
}

// A policy term with its derivatives by the ratio and (cispo only) by the log-prob itself.
struct Term {
  double value = 0, by_ratio = 0, by_logprob = 0;
  bool low = false, high = false;  // the clip took the gradient away
};

Term clipped_term(const LossConfig& config, double ratio, double advantage) {
  const double capped = config.delta > 0 ? std::min(ratio, config.delta) : ratio;
  const double lo = 1 - config.clip_low, hi = 1 + config.clip_high;
  const double bounded = std::clamp(ratio, lo, hi);
  const double by_capped = capped == ratio ? advantage : 0;
  const double by_bounded = bounded == ratio ? advantage : 0;
  const double a = capped * advantage, b = bounded * advantage;
  Term term;
  term.value = -std::min(a, b);
  // At equality either branch is a subgradient; their mean is the convention of automatic
  // differentiation.
  term.by_ratio = -(a < b ? by_capped : b < a ? by_bounded : 0.5 * (by_capped + by_bounded));
  term.low = capped < lo && advantage < 0;
  term.high = capped > hi && advantage > 0;
  return term;
}

Term policy_term(const LossConfig& config, Objective objective, double ratio, double advantage,
                 double logprob) {
  Term term;
  switch (objective) {
    case Objective::kClipped:
      return clipped_term(config, ratio, advantage);
    case Objective::kCispo: {
      const double weight = std::min(ratio, config.clip_high);
      term.value = -weight * advantage * logprob;
      term.by_logprob = -weight * advantage;
      term.high = ratio > config.clip_high && advantage > 0;
      return term;
    }
    case Objective::kSapo: {
      const double tau = advantage > 0 ? config.sapo_tau_pos : config.sapo_tau_neg;
      const double sigmoid = 1 / (1 + std::exp(-tau * (ratio - 1)));
      term.value = -4 / tau * sigmoid * advantage;
      term.by_ratio = -4 * sigmoid * (1 - sigmoid) * advantage;
      return term;
    }
  }
  return term;
}

double mean_log_ratio(const SampleTerms& sample) {
  double sum = 0;
  for (size_t t = 0; t < sample.logprob.size(); ++t) {
    sum += static_cast<double>(sample.logprob[t]) - sample.old_logprob[t];
  }
  return sum / static_cast<double>(sample.logprob.size());
}

void count_clips(LossStats& stats, double low, double high, double ratios) {
  stats.clipped_low += low;
  stats.clipped_high += high;
  stats.ratios += ratios;
  stats.clipped_low_min = std::min(stats.clipped_low_min, low / ratios);
  stats.clipped_high_max = std::max(stats.clipped_high_max, high / ratios);
}

void count_ratio(LossStats& stats, double ratio) {
  stats.ratio += ratio;
  stats.ratio_min = std::min(stats.ratio_min, ratio);
  stats.ratio_max = std::max(stats.ratio_max, ratio);
}

}  // namespace

void sample_loss(const LossConfig& config, const LossScope& scope, const SampleTerms& sample,
                 std::span<double> gradient, LossStats& stats) {
  const size_t n = sample.logprob.size();
  if (n == 0) return;
  const Objective objective = objective_of(config);
  const double weight = token_weight(config, scope, static_cast<double>(n));
  const double log_ratio = mean_log_ratio(sample);
  const bool by_sequence = config.importance_sampling == "sequence";
  const bool dropped = config.off_policy_mask_threshold > 0 && sample.advantage < 0 &&
                       -log_ratio > config.off_policy_mask_threshold;
  double low = 0, high = 0, by_shared_ratio = 0;
  const double shared_ratio = std::exp(log_ratio);
  for (size_t t = 0; t < n; ++t) {
    const double logprob = sample.logprob[t];
    const double ratio = by_sequence ? shared_ratio : std::exp(logprob - sample.old_logprob[t]);
    const Term term = policy_term(config, objective, ratio, sample.advantage, logprob);
    const double kept = dropped || (!sample.keep.empty() && sample.keep[t] == 0) ? 0 : weight;
    double by_ratio = kept * term.by_ratio;
    gradient[t] = kept * term.by_logprob;
    stats.policy_loss += kept * term.value;
    stats.loss += kept * term.value;
    if (config.beta > 0) {
      const double gap = sample.ref_logprob[t] - logprob;
      const double k3 = std::exp(gap) - gap - 1;
      const double factor = config.kl_importance_weighted ? ratio : 1;
      gradient[t] += weight * config.beta * factor * (1 - std::exp(gap));
      if (config.kl_importance_weighted) by_ratio += weight * config.beta * k3;
      stats.kl += factor * k3;
      stats.loss += weight * config.beta * factor * k3;
    }
    if (by_sequence) {
      by_shared_ratio += by_ratio;
    } else {
      gradient[t] += by_ratio * ratio;
      count_ratio(stats, ratio);
    }
    low += term.low;
    high += term.high;
  }
  if (by_sequence) {
    // d ratio / d logprob_t = ratio / n for every token.
    for (size_t t = 0; t < n; ++t)
      gradient[t] += by_shared_ratio * shared_ratio / static_cast<double>(n);
    count_ratio(stats, shared_ratio);
    count_clips(stats, low > 0, high > 0, 1);
  } else {
    count_clips(stats, low, high, static_cast<double>(n));
  }
  stats.tokens += static_cast<double>(n);
  stats.samples += 1;
  stats.off_policy_dropped += dropped;
}

}  // namespace zeroth

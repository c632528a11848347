#include "rl/loss.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace zeroth {
namespace {

// A policy term with its derivatives by the ratio and by the log-prob itself.
struct Term {
  double value = 0, by_ratio = 0, by_logprob = 0;
  bool low = false, high = false;  // the clip took the gradient away
};

// One sample as the objectives see it.
struct View {
  const LossConfig& config;
  const SampleTerms& sample;
  double n = 0;     // loss tokens
  double kept = 0;  // of those, with a policy gradient

  double advantage(size_t t) const {
    return sample.token_advantage.empty() ? sample.advantage : sample.token_advantage[t];
  }
  bool has(size_t t) const { return sample.mask.empty() || sample.mask[t] != 0; }
  bool keeps(size_t t) const { return has(t) && (sample.keep.empty() || sample.keep[t] != 0); }
  double log_ratio(size_t t) const {
    return static_cast<double>(sample.logprob[t]) - sample.old_logprob[t];
  }
  // log(old / sampler); 0 where the sampler's log-prob is unknown.
  double log_correction(size_t t) const {
    if (sample.sampler_logprob.empty() || !has(t)) return 0;
    const double d = static_cast<double>(sample.old_logprob[t]) - sample.sampler_logprob[t];
    return std::isnan(d) ? 0 : d;
  }
  template <class F>
  double sum(const F& of) const {
    double total = 0;
    for (size_t t = 0; t < sample.logprob.size(); ++t) {
      if (has(t)) total += of(t);
    }
    return total;
  }
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

Term cispo_term(const LossConfig& config, double ratio, double advantage, double logprob) {
  const double weight = std::min(ratio, config.clip_high);
  Term term;
  term.value = -weight * advantage * logprob;
  term.by_logprob = -weight * advantage;
  term.high = ratio > config.clip_high && advantage > 0;
  return term;
}

Term sapo_term(const LossConfig& config, double ratio, double advantage) {
  const double tau = advantage > 0 ? config.sapo_tau_pos : config.sapo_tau_neg;
  const double sigmoid = 1 / (1 + std::exp(-tau * (ratio - 1)));
  Term term;
  term.value = -4 / tau * sigmoid * advantage;
  term.by_ratio = -4 * sigmoid * (1 - sigmoid) * advantage;
  return term;
}

// phi = exp(lambda + k s - lambda e^s), s = log of the sequence's ratio times its corrections. In
// float32: phi changes by e^s times an error of s, so that double precision would agree with no
// other implementation, and the ratio itself is no more exact than its float32 log-probs.
double vespo_weight(const View& view, std::span<const double> correction) {
  static const float kLowest = std::log(1e-8f);
  const LossConfig& config = view.config;
  float s = 0;
  for (size_t t = 0; t < view.sample.logprob.size(); ++t) {
    if (!view.has(t)) continue;
    s += std::clamp(view.sample.logprob[t] - view.sample.old_logprob[t], -20.0f, 20.0f);
  }
  float corrected = 0;
  for (double w : correction) {
    corrected += std::clamp(std::log(static_cast<float>(w)), kLowest, 20.0f);
  }
  s = std::clamp(s + corrected, kLowest, 20.0f);
  const bool positive = view.sample.advantage >= 0;
  const auto k = static_cast<float>(positive ? config.vespo_k_pos : config.vespo_k_neg);
  const auto lambda =
      static_cast<float>(positive ? config.vespo_lambda_pos : config.vespo_lambda_neg);
  return std::exp(lambda + k * s - lambda * std::exp(s));
}

// The log-ratio of a token as gmpo clips it, and whether its gradient passes.
std::pair<double, bool> geometric_clip(const LossConfig& config, double log_ratio,
                                       double advantage) {
  const double bounded = std::clamp(log_ratio, -config.clip_low, config.clip_high);
  const double clipped =
      advantage > 0 ? std::min(log_ratio, bounded) : std::max(log_ratio, bounded);
  return {clipped, clipped == log_ratio};
}

double geometric_ratio(const View& view) {
  double sum = 0;
  for (size_t t = 0; t < view.sample.logprob.size(); ++t) {
    if (view.keeps(t)) {
      sum += geometric_clip(view.config, view.log_ratio(t), view.sample.advantage).first;
    }
  }
  return std::exp(sum / std::max(view.kept, 1.0));
}

// `mean` is the geometric mean. The factor n / kept undoes the mean over all n tokens that
// aggregation takes.
Term geometric_term(const View& view, size_t t, double mean) {
  const double advantage = view.sample.advantage, log_ratio = view.log_ratio(t);
  const bool passes = geometric_clip(view.config, log_ratio, advantage).second;
  Term term;
  term.value = -advantage * mean;
  if (view.keeps(t) && passes) term.by_logprob = -advantage * mean * view.n / view.kept;
  term.low = log_ratio < -view.config.clip_low && advantage < 0;
  term.high = log_ratio > view.config.clip_high && advantage > 0;
  return term;
}

// -A s + tau/2 s^2 of a sample, s = the sum of its log-ratios: (A - tau s)^2 / (2 tau) but for what
// does not depend on the policy. Every one of the n tokens, which aggregation adds up, holds an n-th.
Term mirror_term(const View& view, double log_ratio) {
  const double advantage = view.sample.advantage, tau = view.config.omd_tau;
  Term term;
  term.value = (-advantage * log_ratio + tau / 2 * log_ratio * log_ratio) / view.n;
  term.by_logprob = -advantage + tau * log_ratio;
  return term;
}

// `whole`: the sample's geometric mean, its gamma weight or its log-ratio, where the objective has
// one.
Term policy_term(Objective objective, const View& view, size_t t, double ratio, double whole) {
  const double advantage = view.advantage(t), logprob = view.sample.logprob[t];
  switch (objective) {
    case Objective::kClipped:
      return clipped_term(view.config, ratio, advantage);
    case Objective::kCispo:
      return cispo_term(view.config, ratio, advantage, logprob);
    case Objective::kSapo:
      return sapo_term(view.config, ratio, advantage);
    case Objective::kVespo:
      return {-whole * advantage * logprob, 0, -whole * advantage, false, false};
    case Objective::kGeometric:
      return geometric_term(view, t, whole);
    case Objective::kLikelihood:
      return {-advantage * logprob, 0, -advantage, false, false};
    case Objective::kMirrorDescent:
      return mirror_term(view, whole);
  }
  return {};
}

// Weights w of the correction, one per token (1 where nothing is corrected). Counts them in
// `stats`.
std::vector<double> corrections(const View& view, Correction kind, LossStats& stats) {
  const size_t tokens = view.sample.logprob.size();
  std::vector<double> weights(tokens, 1.0);
  if (kind == Correction::kNone || view.sample.sampler_logprob.empty()) return weights;
  const bool truncates =
      kind == Correction::kTokenTruncate || kind == Correction::kSequenceTruncate;
  const bool by_token = kind == Correction::kTokenTruncate || kind == Correction::kTokenMask;
  const LossConfig& config = view.config;
  const auto bounded = [&](double w) {
    const bool below = config.correction_min > 0 && w < config.correction_min;
    const bool above = config.correction_max > 0 && w > config.correction_max;
    double result = w;
    if (below) result = truncates ? config.correction_min : 0;
    if (above) result = truncates ? config.correction_max : 0;
    ++stats.weights;
    stats.weight_sum += result;
    stats.weight_squares += result * result;
    stats.weights_bounded += below || above;
    return result;
  };
  if (by_token) {
    for (size_t t = 0; t < tokens; ++t) {
      if (view.has(t)) weights[t] = bounded(std::exp(view.log_correction(t)));
    }
  } else {
    const double w = bounded(std::exp(view.sum([&](size_t t) { return view.log_correction(t); })));
    std::fill(weights.begin(), weights.end(), w);
  }
  return weights;
}

// mean_t(sampler - lp), with old where the sampler's log-probs are not kept and 0 where one is
// unknown.
double drift(const View& view) {
  const bool known = !view.sample.sampler_logprob.empty();
  return view.sum([&](size_t t) {
    const double sampled = known ? view.sample.sampler_logprob[t] : view.sample.old_logprob[t];
    return std::isnan(sampled) ? 0 : sampled - view.sample.logprob[t];
  }) / view.n;
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

View view_of(const LossConfig& config, const SampleTerms& sample) {
  View view{config, sample};
  for (size_t t = 0; t < sample.logprob.size(); ++t) {
    view.n += view.has(t);
    view.kept += view.keeps(t);
  }
  return view;
}

// What the objective has one of for the whole sample.
double whole_of(Objective objective, const View& view, std::span<const double> corrected,
                double log_ratio) {
  switch (objective) {
    case Objective::kGeometric:
      return geometric_ratio(view);
    case Objective::kVespo:
      return vespo_weight(view, corrected);
    case Objective::kMirrorDescent:
      return log_ratio;
    case Objective::kClipped:
    case Objective::kCispo:
    case Objective::kSapo:
    case Objective::kLikelihood:
      return 0;
  }
  return 0;
}

}  // namespace

PolicyLoss::PolicyLoss(const LossConfig& config)
    : config_(config),
      rule_(config.rule()),
      level_(config.level()),
      correction_(config.correction_kind()),
      covariance_(config.covariance_kind()) {}

// Weight of one token of a sample with n loss tokens in the loss of the mini-batch.
double PolicyLoss::token_weight(const LossScope& scope, double n) const {
  const double samples = std::max(scope.samples, 1.0);
  switch (rule_.aggregation) {
    case Aggregation::kSampleMean:
      return 1 / (samples * n);
    case Aggregation::kTokenMean:
      return 1 / std::max(scope.tokens, 1.0);
    case Aggregation::kStepTokenMean:
      return 1 / std::max(scope.step_tokens, 1.0);
    case Aggregation::kLengthCap:
      return 1 / (samples * scope.max_tokens);
    case Aggregation::kSampleSum:
      return 1 / samples;
  }
  return 0;
}

void PolicyLoss::add(const LossScope& scope, const SampleTerms& sample, std::span<double> gradient,
                     LossStats& stats) const {
  std::fill(gradient.begin(), gradient.end(), 0.0);
  const View view = view_of(config_, sample);
  if (view.n == 0) return;
  const double weight = token_weight(scope, view.n), advantage = sample.advantage;
  const bool geometric = rule_.objective == Objective::kGeometric;
  const bool shared = level_ != Level::kToken;
  const bool dropped = config_.off_policy_mask_threshold > 0 && advantage < 0 &&
                       drift(view) > config_.off_policy_mask_threshold;
  const std::vector<double> corrected = corrections(view, correction_, stats);
  const double log_ratio = view.sum([&](size_t t) { return view.log_ratio(t); });
  const double divisor = level_ == Level::kSequenceSum ? 1 : view.n;
  const double shared_ratio = std::exp(log_ratio / divisor);
  const double whole = whole_of(rule_.objective, view, corrected, log_ratio);
  double low = 0, high = 0, by_shared_ratio = 0;
  for (size_t t = 0; t < sample.logprob.size(); ++t) {
    if (!view.has(t)) continue;
    const double ratio = shared ? shared_ratio : std::exp(view.log_ratio(t));
    const Term term = policy_term(rule_.objective, view, t, ratio, whole);
    const bool covariant = !sample.covariant.empty() && sample.covariant[t] != 0;
    double kept = dropped || !(view.keeps(t) || geometric) ? 0 : weight;
    if (covariant && covariance_ == Covariance::kClip) kept = 0;
    if (rule_.objective != Objective::kVespo) kept *= corrected[t];  // vespo has them in phi
    double by_ratio = kept * term.by_ratio;
    gradient[t] = kept * term.by_logprob;
    stats.policy_loss += kept * term.value;
    stats.loss += kept * term.value;
    if (covariant && covariance_ == Covariance::kKl) {
      const double gap = view.log_ratio(t), coef = weight * config_.covariance_kl_coef;
      gradient[t] += gap > 0 ? coef : gap < 0 ? -coef : 0;
      stats.policy_loss += coef * std::abs(gap);
      stats.loss += coef * std::abs(gap);
    }
    if (config_.beta > 0) {
      const double gap = static_cast<double>(sample.ref_logprob[t]) - sample.logprob[t];
      const double k3 = std::exp(gap) - gap - 1;
      const double factor = config_.kl_importance_weighted ? ratio : 1;
      gradient[t] += weight * config_.beta * factor * (1 - std::exp(gap));
      if (config_.kl_importance_weighted) by_ratio += weight * config_.beta * k3;
      stats.kl += factor * k3;
      stats.loss += weight * config_.beta * factor * k3;
    }
    if (shared) {
      by_shared_ratio += by_ratio;
    } else {
      gradient[t] += by_ratio * ratio;
      count_ratio(stats, ratio);
    }
    low += term.low;
    high += term.high;
  }
  if (shared) {
    // d ratio / d logprob_t = ratio / divisor for every token.
    for (size_t t = 0; t < sample.logprob.size(); ++t) {
      if (view.has(t)) gradient[t] += by_shared_ratio * shared_ratio / divisor;
    }
    count_ratio(stats, shared_ratio);
    count_clips(stats, low > 0, high > 0, 1);
  } else {
    count_clips(stats, low, high, view.n);
  }
  stats.tokens += view.n;
  stats.samples += 1;
  stats.off_policy_dropped += dropped;
}

float entropy_threshold(std::span<float> entropies, double share) {
  const double place = (1 - share) * static_cast<double>(entropies.size() - 1);
  const auto below = static_cast<size_t>(place);
  std::nth_element(entropies.begin(), entropies.begin() + static_cast<int64_t>(below),
                   entropies.end());
  const float low = entropies[below];
  if (below + 1 == entropies.size()) return low;
  const float next =
      *std::min_element(entropies.begin() + static_cast<int64_t>(below) + 1, entropies.end());
  const auto between = static_cast<float>(place - static_cast<double>(below));
  return low + between * (next - low);
}

}  // namespace zeroth

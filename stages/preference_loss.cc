#include "stages/preference_loss.h"

#include <algorithm>
#include <cmath>

namespace zeroth {
namespace {

struct Slope {
  double value = 0, slope = 0;
};

double sigmoid(double x) {
  return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
}

// log sigmoid(x), without overflow.
double log_sigmoid(double x) { return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x))); }

// The score of a log-ratio: f'(exp(ratio)) of the divergence.
Slope score(const PreferenceLossConfig& config, double ratio) {
  if (config.f_divergence == "forward_kl") return {1 - std::exp(-ratio), std::exp(-ratio)};
  if (config.f_divergence == "js_divergence") {
    return {std::log(2.0) + log_sigmoid(ratio), sigmoid(-ratio)};
  }
  if (config.f_divergence == "alpha_divergence" && std::abs(config.alpha - 1) >= 1e-6) {
    constexpr double kLargest = 80;  // of an exponent, where float32 ends
    const double power = (config.alpha - 1) * ratio;
    const double e = std::exp(std::min(power, kLargest));
    return {(e - 1) / (config.alpha - 1), power < kLargest ? e : 0};
  }
  return {ratio, 1};
}

// Log-ratio of a completion: tokens from `shared` on count `tail`.
double log_ratio(std::span<const float> policy, std::span<const float> reference, size_t shared,
                 double tail) {
  double sum = 0;
  for (size_t t = 0; t < policy.size(); ++t) {
    const double weight = t < shared ? 1 : tail;
    sum += weight * (static_cast<double>(policy[t]) - static_cast<double>(reference[t]));
  }
  return sum;
}

// The loss of a margin, and its slope.
Slope margin_loss(const PreferenceLossConfig& config, double margin) {
  const double h = config.beta * margin;
  if (config.type == "ipo") {
    const double off = margin - 1 / (2 * config.beta);
    return {off * off, 2 * off};
  }
  if (config.type == "hinge") return {std::max(0.0, 1 - h), h < 1 ? -config.beta : 0};
  if (config.type == "robust") {
    const double e = config.label_smoothing;
    return {(-(1 - e) * log_sigmoid(h) + e * log_sigmoid(-h)) / (1 - 2 * e),
            config.beta * (-(1 - e) * sigmoid(-h) - e * sigmoid(h)) / (1 - 2 * e)};
  }
  return {-log_sigmoid(h), -config.beta * sigmoid(-h)};
}

std::vector<double> token_gradients(size_t tokens, size_t shared, double tail, double slope) {
  std::vector<double> out(tokens, slope);
  for (size_t t = shared; t < tokens; ++t) out[t] *= tail;
  return out;
}

}  // namespace

PreferenceResult preference_loss(const PreferenceLossConfig& config, const PreferencePair& pair,
                                 int64_t pairs, int64_t chosen_tokens) {
  const size_t shared = std::min(pair.chosen.size(), pair.rejected.size());
  const double tail = config.ld_alpha;
  const double chosen = log_ratio(pair.chosen, pair.ref_chosen, shared, tail);
  const double rejected = log_ratio(pair.rejected, pair.ref_rejected, shared, tail);
  const bool by_length = config.type == "sigmoid_norm" || config.type == "ipo";
  const double chosen_length = by_length ? static_cast<double>(pair.chosen.size()) : 1;
  const double rejected_length = by_length ? static_cast<double>(pair.rejected.size()) : 1;
  const Slope up = score(config, chosen), down = score(config, rejected);
  const Slope loss = margin_loss(config, up.value / chosen_length - down.value / rejected_length);

  PreferenceResult result;
  const double share = config.weight / static_cast<double>(pairs);
  result.loss = share * loss.value;
  result.reward_chosen = config.beta * chosen;
  result.reward_rejected = config.beta * rejected;
  result.grad_chosen = token_gradients(pair.chosen.size(), shared, tail,
                                       share * loss.slope * up.slope / chosen_length);
  result.grad_rejected = token_gradients(pair.rejected.size(), shared, tail,
                                         -share * loss.slope * down.slope / rejected_length);
  if (config.sft_weight > 0) {
    const double each = config.sft_weight / static_cast<double>(chosen_tokens);
    for (size_t t = 0; t < pair.chosen.size(); ++t) {
      result.loss -= each * static_cast<double>(pair.chosen[t]);
      result.grad_chosen[t] -= each;
    }
  }
  return result;
}

}  // namespace zeroth

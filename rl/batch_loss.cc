#include "rl/batch_loss.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "rl/micro_batch.h"
#include "rl/update_plan.h"

namespace zeroth {
namespace {

constexpr uint32_t kCovariant = 0x636f7661;  // random blocks of its own

}  // namespace

void BatchLoss::begin_step(std::span<const Group> groups, WeightsVersion start) {
  groups_ = groups;
  start_ = start;
  begun_ = 0;
  first_tokens_ = ratio_sum_ = ratio_squares_ = ratio_tokens_ = 0;
  bonus_ = entropy_coef_;
  token_advantages.clear();
  reset(drawn_, groups);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = 0; i < groups[g].samples.size(); ++i)
      drawn_[g][i] = drawn_mask(groups[g].samples[i]);
  }
  if (config_.entropy_target == 0) return;
  double sum = 0, tokens = 0;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      if (!has_loss(sample)) continue;
      for (const float entropy : sample.entropies) sum += entropy;
      tokens += static_cast<double>(drawn_tokens(sample));
    }
  }
  sampled_entropy_ = tokens > 0 ? sum / tokens : -1;
  if (sampled_entropy_ > config_.entropy_target) bonus_ = 0;
}

// arXiv 2505.22312, section 4: the coefficient follows the entropy of the samples.
void BatchLoss::end_step(StepReport& report) {
  report.entropy_coef = bonus_;
  if (config_.entropy_target > 0 && sampled_entropy_ >= 0) {
    const bool more = sampled_entropy_ < config_.entropy_target;
    entropy_coef_ = std::max(0.0, entropy_coef_ + (more ? 1 : -1) * config_.entropy_step);
  }
  if (first_tokens_ > 0) report.logp_difference_mean /= first_tokens_;
  if (ratio_squares_ > 0)
    report.effective_sample_size = ratio_sum_ * ratio_sum_ / (ratio_tokens_ * ratio_squares_);
}

void BatchLoss::begin(std::span<const int32_t> order, double step_tokens) {
  ++begun_;
  scope_ = {};
  for (const int32_t g : order) {
    const std::vector<Sample>& samples = groups_[g].samples;
    scope_.tokens += static_cast<double>(loss_tokens(groups_[g]));
    scope_.samples += static_cast<double>(std::count_if(samples.begin(), samples.end(), has_loss));
  }
  scope_.step_tokens = step_tokens / mini_batches_;
  scope_.max_tokens = static_cast<double>(max_tokens_);
  scope_.entropy_tokens = scope_.tokens;
  if (config_.top_entropy_quantile < 1) scope_.entropy_tokens = choose_tokens(order);
  if (config_.covariance_kind() != Covariance::kNone) choose_covariant(order);
}

std::span<const float> BatchLoss::old_logprobs(size_t group, size_t index) const {
  if (config_.decoupled) return proximal_logprobs[group][index];
  return groups_[group].samples[index].logprobs;
}

double BatchLoss::advantage(size_t group, size_t index, size_t token) const {
  if (token_advantages.empty() || token_advantages[group][index].empty())
    return groups_[group].samples[index].advantage;
  return token_advantages[group][index][token];
}

// Of the update's loss tokens, by (old - mean old) (A - mean A): with clip some of those between the
// bounds, drawn at random by the weights' version and the number of the update; with kl the first
// ones. arXiv 2505.22617, section 4.
void BatchLoss::choose_covariant(std::span<const int32_t> order) {
  struct Token {
    double old, advantage;
    uint8_t* chosen;
    double covariance = 0;
  };
  reset(covariant_, groups_);
  std::vector<Token> tokens;
  double old_sum = 0, advantage_sum = 0;
  for (const int32_t g : order) {
    for (size_t i = 0; i < groups_[g].samples.size(); ++i) {
      if (!has_loss(groups_[g].samples[i])) continue;
      const std::span<const float> old = old_logprobs(g, i);
      covariant_[g][i].assign(old.size(), 0);
      for (size_t t = 0; t < old.size(); ++t) {
        if (!drawn(g, i, t)) continue;
        tokens.push_back({old[t], advantage(g, i, t), &covariant_[g][i][t]});
        old_sum += tokens.back().old;
        advantage_sum += tokens.back().advantage;
      }
    }
  }
  if (tokens.empty()) return;
  const auto all = static_cast<double>(tokens.size());
  for (Token& token : tokens)
    token.covariance = (token.old - old_sum / all) * (token.advantage - advantage_sum / all);
  auto most = std::max<size_t>(1, static_cast<size_t>(config_.covariance_share * all));
  if (config_.covariance_kind() == Covariance::kKl) {
    std::stable_sort(tokens.begin(), tokens.end(),
                     [](const Token& a, const Token& b) { return a.covariance > b.covariance; });
    for (size_t i = 0; i < std::min(most, tokens.size()); ++i) *tokens[i].chosen = 1;
    return;
  }
  std::erase_if(tokens, [&](const Token& token) {
    return token.covariance <= config_.covariance_low ||
           token.covariance >= config_.covariance_high;
  });
  most = std::min(most, tokens.size());
  Rng rng(StreamKey{static_cast<uint64_t>(start_), static_cast<uint32_t>(begun_), 0, kCovariant});
  for (size_t i = 0; i < most; ++i) {
    std::swap(tokens[i], tokens[i + rng.below(static_cast<uint32_t>(tokens.size() - i))]);
    *tokens[i].chosen = 1;
  }
}

// Keeps the share of highest entropy among the update's tokens, by the entropies of sampling (arXiv
// 2506.01939).
double BatchLoss::choose_tokens(std::span<const int32_t> order) {
  reset(kept_tokens_, groups_);
  std::vector<float> all;
  const auto each = [&](const auto& use) {
    for (const int32_t g : order) {
      for (size_t i = 0; i < groups_[g].samples.size(); ++i) {
        const Sample& sample = groups_[g].samples[i];
        if (has_loss(sample)) use(sample, drawn_[g][i], kept_tokens_[g][i]);
      }
    }
  };
  each([&](const Sample& s, const std::vector<uint8_t>& mask, auto&) {
    for (size_t t = 0; t < s.entropies.size(); ++t) {
      if (mask.empty() || mask[t] != 0) all.push_back(s.entropies[t]);
    }
  });
  if (all.empty()) return 0;
  const float threshold = entropy_threshold(all, config_.top_entropy_quantile);
  double kept = 0;
  each([&](const Sample& s, const std::vector<uint8_t>& mask, std::vector<uint8_t>& keep) {
    for (size_t t = 0; t < s.entropies.size(); ++t) {
      keep.push_back((mask.empty() || mask[t] != 0) && s.entropies[t] >= threshold);
      kept += keep.back();
    }
  });
  return kept;
}

SampleTerms BatchLoss::terms_of(size_t group, size_t index, std::span<const float> logprobs) const {
  const Sample& sample = groups_[group].samples[index];
  SampleTerms terms;
  terms.logprob = logprobs;
  terms.old_logprob = old_logprobs(group, index);
  if (config_.decoupled) terms.sampler_logprob = sample.logprobs;
  terms.advantage = sample.advantage;
  terms.mask = drawn_[group][index];
  if (!token_advantages.empty()) terms.token_advantage = token_advantages[group][index];
  if (config_.covariance_kind() != Covariance::kNone) terms.covariant = covariant_[group][index];
  if (config_.beta > 0) terms.ref_logprob = reference_logprobs[group][index];
  if (config_.top_entropy_quantile < 1) terms.keep = kept_tokens_[group][index];
  return terms;
}

std::span<const double> BatchLoss::differentiate(size_t group, size_t index,
                                                 std::span<const float> logprobs,
                                                 LossStats& stats) {
  gradient_.resize(logprobs.size());
  loss_.add(scope_, terms_of(group, index, logprobs), gradient_, stats);
  return gradient_;
}

std::span<const double> BatchLoss::add(size_t group, size_t index, std::span<const float> logprobs,
                                       std::span<const float> entropies, StepReport& report) {
  const LossStats before = report.stats;
  differentiate(group, index, logprobs, report.stats);
  TrainedSample& trained = report.trained[group][index];
  trained.logprobs.assign(logprobs.begin(), logprobs.end());
  if (config_.beta > 0) trained.reference_logprobs = reference_logprobs[group][index];
  trained.loss = report.stats.loss - before.loss;
  for (size_t t = 0; t < entropies.size(); ++t)
    report.entropy_sum += drawn(group, index, t) ? entropies[t] : 0;
  if (begun_ == 1) {
    first_tokens_ += report.stats.tokens - before.tokens;
    compare(group, index, logprobs, report);
  }
  return gradient_;
}

// The first token from which on sampling and training compute the same: it was drawn by the weights
// of the step's start, and they computed all tokens before it, too. Behind a switch replayed experts
// do not let them: those of the tokens before it are of the weights that drew them.
size_t BatchLoss::same_from(const Sample& sample) const {
  if (!older_weights_) return 0;
  const VersionSegment last = sample.versions.empty() ? VersionSegment{} : sample.versions.back();
  const bool same = last.version == start_ && (last.first == 0 || !replays_);
  return same ? static_cast<size_t>(last.first) : sample.tokens.size();
}

// With what sampling has recorded.
void BatchLoss::compare(size_t group, size_t index, std::span<const float> logprobs,
                        StepReport& report) {
  const Sample& sample = groups_[group].samples[index];
  const size_t same = same_from(sample);
  for (size_t t = 0; t < logprobs.size(); ++t) {
    if (!drawn(group, index, t)) continue;
    const double gap = static_cast<double>(logprobs[t]) - sample.logprobs[t];
    if (older_weights_) {
      const double ratio = std::exp(gap);
      ratio_sum_ += ratio;
      ratio_squares_ += ratio * ratio;
      ++ratio_tokens_;
    }
    if (t < same) continue;
    report.logp_difference_mean += std::abs(gap);  // a sum until the step ends
    report.logp_difference_max = std::max(report.logp_difference_max, std::abs(gap));
  }
}

}  // namespace zeroth

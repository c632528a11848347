#include "rl/advantage.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "core/error.h"
#include "rl/choices.h"
#include "rl/process_supervision.h"

namespace zeroth {
namespace {

double mean(std::span<const double> x) {
  double sum = 0;
  for (double value : x) sum += value;
  return sum / static_cast<double>(x.size());
}

// Standard deviation with divisor n - ddof; 0 when the divisor is.
double deviation(std::span<const double> x, double m, int ddof) {
  const auto divisor = static_cast<double>(x.size()) - ddof;
  if (divisor <= 0) return 0;
  double sum = 0;
  for (double value : x) sum += (value - m) * (value - m);
  return std::sqrt(sum / divisor);
}

// Rounding would leave a tiny deviation in a constant group, and dividing by it makes noise look
// like signal; so equality is tested on the values, up to the rounding of a sum of rewards.
bool constant(std::span<const double> x) {
  if (x.size() < 2) return true;
  constexpr double kRounding = 1e-12;
  const auto [lo, hi] = std::minmax_element(x.begin(), x.end());
  return *hi - *lo <= kRounding * std::max(std::abs(*lo), std::abs(*hi));
}

std::vector<Sample*> unmasked(Group& group) {
  std::vector<Sample*> samples;
  for (Sample& sample : group.samples) {
    sample.advantage = 0;
    if (sample.masked) continue;
    if (!std::isfinite(sample.reward)) {
      fail("reward " + std::to_string(sample.reward) + " of problem " + group.problem.id +
               " of task " + group.problem.task + " is not finite",
           "make the checker of this task return finite scores");
    }
    samples.push_back(&sample);
  }
  return samples;
}

double bounded(const Sample& sample, const AdvantageConfig& config) {
  double reward = sample.reward;
  if (config.reward_min > -AdvantageConfig::kNoBound) reward = std::max(reward, config.reward_min);
  if (config.reward_max < AdvantageConfig::kNoBound) reward = std::min(reward, config.reward_max);
  return reward;
}

// Advantages of rewards that are not all equal, by their group alone.
std::vector<double> group_advantages(const std::vector<double>& rewards,
                                     const AdvantageConfig& config) {
  const double m = mean(rewards);
  const auto scaled = [&](double scale) {
    std::vector<double> a;
    for (const double reward : rewards) a.push_back((reward - m) * scale);
    return a;
  };
  switch (config.baseline_kind()) {
    case Baseline::kNone:
      return rewards;
    case Baseline::kMean:
      return scaled(1);
    case Baseline::kMeanStdPopulation:
      return scaled(1 / (deviation(rewards, m, 0) + config.std_epsilon));
    case Baseline::kMeanStdSample:
      return scaled(1 / (deviation(rewards, m, 1) + config.std_epsilon));
    case Baseline::kLeaveOneOut: {
      const auto n = static_cast<double>(rewards.size());
      return scaled(n / (n - 1));
    }
    case Baseline::kPassAtK:
      return pass_at_k_advantages(rewards, config.pass_k, config.std_epsilon);
  }
  return {};
}

bool all_zero(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double x) { return x == 0; });
}

void assign_group(Group& group, const AdvantageConfig& config) {
  const std::vector<Sample*> samples = unmasked(group);
  std::vector<double> rewards;
  for (const Sample* sample : samples) rewards.push_back(bounded(*sample, config));
  const bool compares = config.baseline_kind() != Baseline::kNone;
  group.zero_variance = compares && constant(rewards);
  if (group.zero_variance) return;
  const std::vector<double> advantages = group_advantages(rewards, config);
  group.zero_variance = all_zero(advantages);
  for (size_t i = 0; i < samples.size(); ++i) samples[i]->advantage = advantages[i];
}

// Every unmasked sample of the batch that `wanted` takes.
template <class Wanted>
std::vector<Sample*> batch_samples(std::vector<Group>& groups, const Wanted& wanted) {
  std::vector<Sample*> samples;
  for (Group& group : groups) {
    for (Sample& sample : group.samples) {
      if (!sample.masked && wanted(group)) samples.push_back(&sample);
    }
  }
  return samples;
}

bool alone(const Group& group) {
  return std::count_if(group.samples.begin(), group.samples.end(),
                       [](const Sample& sample) { return !sample.masked; }) < 2;
}

// What depends on more than a group.
void normalize_batch(std::vector<Group>& groups, const AdvantageConfig& config) {
  const Normalization kind = config.normalization();
  if (kind == Normalization::kNone) return;
  // Where there are no others to be compared with there is no advantage: neither one of 0.
  const bool by_others =
      kind == Normalization::kBatchAdvantages && config.baseline_kind() == Baseline::kLeaveOneOut;
  const auto samples =
      batch_samples(groups, [&](const Group& group) { return !by_others || !alone(group); });
  std::vector<double> values;
  for (const Sample* sample : samples) {
    values.push_back(kind == Normalization::kBatchRewards ? bounded(*sample, config)
                                                          : sample->advantage);
  }
  const bool flat = constant(values);
  const double m = flat ? 0 : mean(values);
  const double scale = flat ? 0 : 1 / (deviation(values, m, 1) + config.std_epsilon);
  // A baseline of the group leaves sums of 0, up to rounding; not subtracting their mean keeps
  // constant groups at 0.
  const bool centred = config.baseline_kind() != Baseline::kNone;
  const double shift = kind == Normalization::kBatchRewards || centred ? 0 : m;
  for (Sample* sample : samples) sample->advantage = (sample->advantage - shift) * scale;
  if (centred && !flat) return;
  for (Group& group : groups) {
    group.zero_variance = std::all_of(group.samples.begin(), group.samples.end(),
                                      [](const Sample& sample) { return sample.advantage == 0; });
  }
}

void scale_by_signal(std::vector<Group>& groups) {
  const auto all = batch_samples(groups, [](const Group&) { return true; });
  const auto telling =
      batch_samples(groups, [](const Group& group) { return !group.zero_variance; });
  if (telling.empty()) return;
  const double scale = static_cast<double>(all.size()) / static_cast<double>(telling.size());
  for (Sample* sample : telling) sample->advantage *= scale;
}

const Verdict* find_verdict(const Sample& sample, const std::string& name) {
  for (const Verdict& verdict : sample.verdicts) {
    if (verdict.name == name) return has_score(verdict.reason) ? &verdict : nullptr;
  }
  return nullptr;
}

// Adds weight * (score - mean) / (std + eps) of one reward to the samples of a group that carry it.
// Returns false when the reward is constant there.
bool add_reward(const std::vector<Sample*>& samples, const std::string& name, double epsilon) {
  std::vector<double> scores;
  for (const Sample* sample : samples) {
    if (const Verdict* verdict = find_verdict(*sample, name)) scores.push_back(verdict->score);
  }
  if (constant(scores)) return false;
  const double m = mean(scores);
  const double s = deviation(scores, m, 1) + epsilon;
  for (Sample* sample : samples) {
    if (const Verdict* verdict = find_verdict(*sample, name)) {
      sample->advantage += verdict->weight * (verdict->score - m) / s;
    }
  }
  return true;
}

void assign_per_reward(std::vector<Group>& groups, const AdvantageConfig& config) {
  std::vector<Sample*> informative;
  std::vector<double> values;
  for (Group& group : groups) {
    const std::vector<Sample*> samples = unmasked(group);
    std::vector<std::string> names;
    for (const Sample* sample : samples) {
      for (const Verdict& verdict : sample->verdicts) {
        if (verdict.weight == 0) continue;  // a fact, no reward
        if (std::find(names.begin(), names.end(), verdict.name) == names.end())
          names.push_back(verdict.name);
      }
    }
    group.zero_variance = true;
    for (const std::string& name : names) {
      if (add_reward(samples, name, config.std_epsilon)) group.zero_variance = false;
    }
    for (Sample* sample : samples) {
      values.push_back(sample->advantage);
      if (!group.zero_variance) informative.push_back(sample);
    }
  }
  if (constant(values)) {
    for (Sample* sample : informative) sample->advantage = 0;
    return;
  }
  // The mean over the batch is 0 up to rounding, because each group's is; not subtracting it keeps
  // constant groups at 0.
  const double s = deviation(values, mean(values), 1) + config.std_epsilon;
  for (Sample* sample : informative) sample->advantage /= s;
}

}  // namespace

Baseline AdvantageConfig::baseline_kind() const {
  static constexpr std::pair<const char*, Baseline> kBaselines[] = {
      {"none", Baseline::kNone},
      {"mean", Baseline::kMean},
      {"mean_std_population", Baseline::kMeanStdPopulation},
      {"mean_std_sample", Baseline::kMeanStdSample},
      {"leave_one_out", Baseline::kLeaveOneOut},
      {"pass_at_k", Baseline::kPassAtK}};
  return choice_of(baseline, kBaselines, "advantage.baseline");
}

Normalization AdvantageConfig::normalization() const {
  static constexpr std::pair<const char*, Normalization> kNormalizations[] = {
      {"none", Normalization::kNone},
      {"batch_rewards", Normalization::kBatchRewards},
      {"batch_advantages", Normalization::kBatchAdvantages}};
  return choice_of(normalize, kNormalizations, "advantage.normalize");
}

Supervision AdvantageConfig::supervision_kind() const {
  static constexpr std::pair<const char*, Supervision> kKinds[] = {
      {"outcome", Supervision::kOutcome},
      {"process", Supervision::kProcess},
      {"turns", Supervision::kTurns}};
  return choice_of(supervision, kKinds, "advantage.supervision");
}

void AdvantageConfig::check() const {
  const bool normalizes = normalization() != Normalization::kNone;
  if (per_reward && (normalizes || baseline_kind() == Baseline::kPassAtK)) {
    fail_usage("advantage.per_reward has a baseline and a normalisation of its own, beside " +
                   std::string(normalizes ? "advantage.normalize = \"" + normalize + "\""
                                          : "advantage.baseline = \"pass_at_k\""),
               "leave one of them out");
  }
  if (supervision_kind() != Supervision::kOutcome && (normalizes || per_reward)) {
    fail_usage("advantage.supervision = \"" + supervision +
                   "\" normalises the rewards of all steps of a group, beside " +
                   std::string(per_reward ? "advantage.per_reward"
                                          : "advantage.normalize = \"" + normalize + "\""),
               "leave one of them out");
  }
  if (reward_min > reward_max) {
    fail_usage("advantage.reward_min = " + Json(reward_min).dump() +
                   " is above advantage.reward_max = " + Json(reward_max).dump(),
               "give the lower bound first");
  }
}

std::vector<double> pass_at_k_advantages(const std::vector<double>& rewards, int k,
                                         double epsilon) {
  const size_t n = rewards.size();
  std::vector<double> advantages(n, 0);
  if (n < 2) return advantages;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rewards[a] < rewards[b]; });
  const auto size = static_cast<double>(n);
  const double set = std::min<double>(k, size);
  // Ranks from the best, j = n, downwards. best: the share of all sets whose best has rank j, C(j-1,
  // k-1) / C(n, k); own: of the sets that hold rank j those of which it is the best, C(j-1, k-1) /
  // C(n-1, k-1); other: of the sets that hold a lower rank those whose best is rank j, C(j-2, k-2) /
  // C(n-1, k-1).
  double best = set / size, own = 1, other = (set - 1) / (size - 1);
  double worth = 0, squares = 0, above = 0;
  std::vector<double> held(n);  // the mean worth of the sets that hold the sample
  for (size_t at = n; at-- > 0;) {
    const auto j = static_cast<double>(at + 1);
    const double reward = rewards[order[at]];
    held[order[at]] = own * reward + above;
    above += other * reward;
    worth += best * reward;
    squares += best * reward * reward;
    if (at == 0) break;
    const double fall = std::max(0.0, j - set) / (j - 1);
    best *= fall;
    own *= fall;
    if (at > 1) other *= std::max(0.0, j - set) / (j - 2);
  }
  const double variance = squares - worth * worth;
  // All sets hold one of the best rewards: what is left of the variance is rounding.
  if (!(variance > 1e-12 * squares)) return advantages;
  const double scale = 1 / (std::sqrt(variance) + epsilon);
  for (size_t i = 0; i < n; ++i) advantages[i] = (held[i] - worth) * scale;
  return advantages;
}

void assign_advantages(std::vector<Group>& groups, const AdvantageConfig& config) {
  if (config.per_reward) {
    assign_per_reward(groups, config);
  } else if (config.supervision_kind() != Supervision::kOutcome) {
    const bool turns = config.supervision_kind() == Supervision::kTurns;
    for (Group& group : groups) {
      const std::vector<Sample*> samples = unmasked(group);
      group.zero_variance = !(turns ? assign_turn_advantages(samples, config)
                                    : assign_process_advantages(samples, config));
    }
  } else {
    for (Group& group : groups) assign_group(group, config);
    normalize_batch(groups, config);
  }
  if (config.scale_by_signal) scale_by_signal(groups);
}

}  // namespace zeroth

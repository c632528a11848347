#include "rl/advantage.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/error.h"

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

void assign_group(Group& group, const AdvantageConfig& config) {
  const std::vector<Sample*> samples = unmasked(group);
  std::vector<double> rewards;
  for (const Sample* sample : samples) rewards.push_back(sample->reward);
  group.zero_variance = constant(rewards);
  if (group.zero_variance) return;

  const double m = mean(rewards);
  double scale = 1;
  if (config.baseline == "mean_std_population")
    scale = 1 / (deviation(rewards, m, 0) + config.std_epsilon);
  if (config.baseline == "mean_std_sample")
    scale = 1 / (deviation(rewards, m, 1) + config.std_epsilon);
  if (config.baseline == "leave_one_out") {
    scale = static_cast<double>(rewards.size()) / static_cast<double>(rewards.size() - 1);
  }
  for (Sample* sample : samples) sample->advantage = (sample->reward - m) * scale;
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

void assign_advantages(std::vector<Group>& groups, const AdvantageConfig& config) {
  if (config.per_reward) {
    assign_per_reward(groups, config);
    return;
  }
  for (Group& group : groups) assign_group(group, config);
}

}  // namespace zeroth

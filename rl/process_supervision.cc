#include "rl/process_supervision.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "rewards/process.h"
#include "rl/turns.h"

namespace zeroth {
namespace {

// Mean, and 1 / (deviation + epsilon); 0 when all are equal, up to the rounding of a sum.
struct Scale {
  double mean = 0, factor = 0;
};

Scale scale_of(const std::vector<double>& rewards, double epsilon) {
  Scale scale;
  if (rewards.empty()) return scale;
  const auto [low, high] = std::minmax_element(rewards.begin(), rewards.end());
  if (*high - *low <= 1e-12 * std::max(std::abs(*low), std::abs(*high))) return scale;
  const auto n = static_cast<double>(rewards.size());
  double squares = 0;
  for (const double reward : rewards) scale.mean += reward / n;
  for (const double reward : rewards) squares += (reward - scale.mean) * (reward - scale.mean);
  scale.factor = 1 / (std::sqrt(squares / n) + epsilon);
  return scale;
}

// Of a group, with the steps of its samples.
Scale scale_of(const std::vector<std::vector<StepReward>>& steps, double epsilon) {
  std::vector<double> rewards;
  for (const auto& of_sample : steps) {
    for (const StepReward& step : of_sample) rewards.push_back(step.reward);
  }
  return scale_of(rewards, epsilon);
}

const Json* named_steps(const Sample& sample) {
  for (const Verdict& verdict : sample.verdicts) {
    if (!verdict.info.is_object()) continue;
    const auto steps = verdict.info.find("step_rewards");
    if (steps != verdict.info.end()) return &*steps;
  }
  return nullptr;
}

// The steps that a checker has named.
std::vector<StepReward> read_steps(const Json& steps, double weight) {
  std::vector<StepReward> found;
  const auto bad = [&] {
    fail("step_rewards = " + steps.dump().substr(0, 200) +
             " is not [[end, score], ..] with ends that "
             "ascend and finite scores",
         "mend the checker that names them");
  };
  if (!steps.is_array()) bad();
  for (const Json& step : steps) {
    if (!step.is_array() || step.size() != 2 || !step[0].is_number_integer() ||
        step[0].get<int64_t>() < 0 || !step[1].is_number() ||
        !std::isfinite(step[1].get<double>())) {
      bad();
    }
    const auto end = step[0].get<size_t>();
    if (!found.empty() && end < found.back().end) bad();
    found.push_back({end, weight * step[1].get<double>()});
  }
  return found;
}

// Bytes of the policy's tokens up to and with each one, less those that the text lacks in front (a
// tokenizer's own first blank). An end-of-text token has none.
std::vector<size_t> token_ends(const Sample& sample, const Tokenizer& tokenizer) {
  std::string bytes;
  std::vector<size_t> ends;
  const std::vector<uint8_t> mask = drawn_mask(sample);
  const std::vector<TokenId>& stops = tokenizer.eos_ids();
  for (size_t t = 0; t < sample.tokens.size(); ++t) {
    const TokenId token = sample.tokens[t];
    const bool drawn = mask.empty() || mask[t] != 0;
    if (drawn && std::find(stops.begin(), stops.end(), token) == stops.end())
      bytes += tokenizer.token_bytes(token);
    ends.push_back(bytes.size());
  }
  const size_t lead = bytes.find(sample.text.substr(0, 32));
  if (lead == std::string::npos) return ends;
  for (size_t& end : ends) end -= std::min(end, lead);
  return ends;
}

// Of the reward without what the turns have paid.
double outcome_of(const Sample& sample, const AdvantageConfig& config) {
  double reward = sample.reward;
  const Verdict* turns = turns_verdict(sample);
  if (turns != nullptr && has_score(turns->reason)) reward -= turns->score * turns->weight;
  return std::clamp(reward, config.reward_min, config.reward_max);
}

// [samples][turns] of the unmasked samples; a sample without turns has one. False: no signal.
bool turn_advantages(std::span<const Sample* const> samples, const AdvantageConfig& config,
                     std::vector<std::vector<double>>& advantages) {
  std::vector<double> outcomes;
  size_t most = 0;
  for (const Sample* sample : samples) {
    outcomes.push_back(outcome_of(*sample, config));
    most = std::max(most, sample->turns.size());
  }
  const Scale whole = scale_of(outcomes, config.std_epsilon);
  bool signal = whole.factor > 0;
  advantages.clear();
  for (const Sample* sample : samples)
    advantages.emplace_back(std::max<size_t>(1, sample->turns.size()), 0.0);
  for (size_t k = most; k-- > 0;) {
    std::vector<double> rewards;
    for (const Sample* sample : samples)
      if (k < sample->turns.size()) rewards.push_back(sample->turns[k].reward);
    const Scale scale = scale_of(rewards, config.std_epsilon);
    signal = signal || (scale.factor > 0 && config.step_weight > 0);
    for (size_t i = 0; i < samples.size(); ++i) {
      std::vector<double>& own = advantages[i];
      if (k >= samples[i]->turns.size()) continue;
      own[k] = config.step_weight * (samples[i]->turns[k].reward - scale.mean) * scale.factor;
      if (k + 1 < own.size()) own[k] += own[k + 1];
    }
  }
  for (size_t i = 0; i < samples.size(); ++i)
    for (double& a : advantages[i]) a += (outcomes[i] - whole.mean) * whole.factor;
  return signal;
}

// [tokens] of a sample from those of its turns; an environment's tokens have that of the turn before.
std::vector<double> spread(const Sample& sample, const std::vector<double>& by_turn) {
  std::vector<double> out(sample.tokens.size(), by_turn.back());
  int32_t begin = 0;
  for (size_t k = 0; k < sample.turns.size(); ++k) {
    std::fill(out.begin() + begin, out.begin() + sample.turns[k].next, by_turn[k]);
    begin = sample.turns[k].next;
  }
  return out;
}

}  // namespace

bool assign_turn_advantages(std::span<Sample* const> samples, const AdvantageConfig& config) {
  std::vector<std::vector<double>> advantages;
  const std::vector<const Sample*> list(samples.begin(), samples.end());
  const bool signal = turn_advantages(list, config, advantages);
  for (size_t i = 0; i < samples.size(); ++i) samples[i]->advantage = signal ? advantages[i][0] : 0;
  return signal;
}

std::vector<StepReward> step_rewards(const Sample& sample, const AdvantageConfig& config) {
  std::vector<StepReward> steps;
  if (const Json* named = named_steps(sample)) {
    steps = read_steps(*named, config.step_weight);
  } else {
    for (const Equation& equation : find_equations(sample.text))
      steps.push_back({equation.end, equation.right ? config.step_weight : 0});
  }
  steps.push_back({SIZE_MAX, std::clamp(sample.reward, config.reward_min, config.reward_max)});
  return steps;
}

bool assign_process_advantages(std::span<Sample* const> samples, const AdvantageConfig& config) {
  std::vector<std::vector<StepReward>> steps;
  for (const Sample* sample : samples) steps.push_back(step_rewards(*sample, config));
  const Scale scale = scale_of(steps, config.std_epsilon);
  for (size_t i = 0; i < samples.size(); ++i) {
    double sum = 0;
    for (const StepReward& step : steps[i]) sum += (step.reward - scale.mean) * scale.factor;
    samples[i]->advantage = sum;
  }
  return scale.factor > 0;
}

std::vector<std::vector<double>> token_advantages(const Group& group, const AdvantageConfig& config,
                                                  const Tokenizer& tokenizer) {
  std::vector<std::vector<double>> advantages(group.samples.size());
  if (group.zero_variance) return advantages;
  if (config.supervision_kind() == Supervision::kTurns) {
    std::vector<const Sample*> list;
    for (const Sample& sample : group.samples)
      if (!sample.masked) list.push_back(&sample);
    std::vector<std::vector<double>> by_turn;
    turn_advantages(list, config, by_turn);
    size_t next = 0;
    for (size_t i = 0; i < group.samples.size(); ++i) {
      if (!group.samples[i].masked) advantages[i] = spread(group.samples[i], by_turn[next++]);
    }
    return advantages;
  }
  std::vector<std::vector<StepReward>> steps;
  for (const Sample& sample : group.samples) {
    steps.push_back(sample.masked ? std::vector<StepReward>() : step_rewards(sample, config));
  }
  const Scale scale = scale_of(steps, config.std_epsilon);
  for (size_t i = 0; i < steps.size(); ++i) {
    const Sample& sample = group.samples[i];
    if (sample.masked || sample.tokens.empty()) continue;
    const std::vector<size_t> ends = token_ends(sample, tokenizer);
    std::vector<double> earned(sample.tokens.size(), 0);  // by the steps that end with the token
    for (const StepReward& step : steps[i]) {
      const auto last = std::lower_bound(ends.begin(), ends.end(), step.end);
      const auto at = std::min<size_t>(static_cast<size_t>(last - ends.begin()), ends.size() - 1);
      earned[at] += (step.reward - scale.mean) * scale.factor;
    }
    for (size_t t = earned.size() - 1; t > 0; --t) earned[t - 1] += earned[t];
    advantages[i] = std::move(earned);
  }
  return advantages;
}

}  // namespace zeroth

#include "rl/advantage_cases.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json_lines.h"
#include "rl/advantage.h"

namespace zeroth {
namespace {

// The settings of a run that stand for TRL's, and what they are called there.
AdvantageConfig config_of(const Json& row, std::string& name) {
  AdvantageConfig config;
  const auto trainer = row.at("trainer").get<std::string>();
  name = trainer;
  if (trainer == "rloo") {
    config.baseline = "leave_one_out";
    if (row.at("normalize_advantages").get<bool>()) {
      config.normalize = "batch_advantages";
      name += " normalize_advantages";
    }
    if (!row.at("reward_clip_range").is_null()) {
      config.reward_min = row.at("reward_clip_range").at(0).get<double>();
      config.reward_max = row.at("reward_clip_range").at(1).get<double>();
      name += " reward_clip_range";
    }
    return config;
  }
  if (trainer != "grpo") fail("trainer \"" + trainer + "\" is not known", "grpo or rloo");
  if (row.at("multi_objective_aggregation") == "normalize_then_sum") {
    config.per_reward = true;
    name += " normalize_then_sum";
    return config;
  }
  const auto scale = row.at("scale_rewards").get<std::string>();
  name += " scale_rewards=" + scale;
  if (scale == "group") {
    config.baseline = "mean_std_sample";
  } else if (scale == "batch") {
    config.normalize = "batch_rewards";
  } else if (scale != "none") {
    fail("scale_rewards \"" + scale + "\" is not known", "group, batch or none");
  }
  return config;
}

std::vector<Group> groups_of(const Json& row) {
  const auto weights = row.at("reward_weights").get<std::vector<double>>();
  const auto samples_of_group = row.at("num_generations").get<size_t>();
  const Json& rewards = row.at("rewards");
  if (samples_of_group == 0 || rewards.size() % samples_of_group != 0) {
    fail(std::to_string(rewards.size()) + " samples are no groups of " +
             std::to_string(samples_of_group),
         "record the case again");
  }
  std::vector<Group> groups(rewards.size() / samples_of_group);
  for (size_t i = 0; i < rewards.size(); ++i) {
    Sample sample;
    sample.masked = true;
    if (rewards[i].size() != weights.size())
      fail("a sample has " + std::to_string(rewards[i].size()) + " rewards for " +
               std::to_string(weights.size()) + " weights",
           "record the case again");
    for (size_t f = 0; f < weights.size(); ++f) {
      if (rewards[i][f].is_null()) continue;
      Verdict verdict;
      verdict.name = std::to_string(f);
      verdict.score = rewards[i][f].get<double>();
      verdict.weight = weights[f];
      sample.reward += verdict.score * verdict.weight;
      sample.masked = false;
      sample.verdicts.push_back(std::move(verdict));
    }
    groups[i / samples_of_group].samples.push_back(std::move(sample));
  }
  return groups;
}

AdvantageCaseResult evaluate(const Json& row) {
  AdvantageCaseResult result;
  result.id = row.at("id").get<int64_t>();
  const AdvantageConfig config = config_of(row, result.name);
  std::vector<Group> groups = groups_of(row);
  assign_advantages(groups, config);
  const auto expected = row.at("advantages").get<std::vector<double>>();
  double largest = 1;
  for (const double a : expected) largest = std::max(largest, std::abs(a));
  size_t next = 0;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      const double d = std::abs(sample.advantage - expected.at(next++)) / largest;
      if (!(d <= result.difference)) result.difference = d;  // NaN stays
    }
  }
  if (next != expected.size())
    fail(std::to_string(expected.size()) + " advantages for " + std::to_string(next) + " samples",
         "record the case again");
  return result;
}

}  // namespace

std::vector<AdvantageCaseResult> evaluate_advantage_cases(const std::filesystem::path& file) {
  std::vector<AdvantageCaseResult> results;
  for_each_json_line(file, [&](const Json& row, int64_t line) {
    try {
      results.push_back(evaluate(row));
    } catch (const std::exception& error) {
      fail(file.string() + ":" + std::to_string(line) + ": " + error.what(),
           "see rl/advantage_cases.h for the fields");
    }
  });
  if (results.empty())
    fail(file.string() + " holds no case", "name a JSON-lines file of recorded advantages");
  return results;
}

}  // namespace zeroth

#include "rl/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

namespace zeroth {
namespace {

// Mean, spread and range of numbers that come one by one.
struct Tally {
  double sum = 0, squares = 0, count = 0, lo = 0, hi = 0;
  void add(double x) {
    lo = count == 0 ? x : std::min(lo, x);
    hi = count == 0 ? x : std::max(hi, x);
    sum += x;
    squares += x * x;
    ++count;
  }
  double mean() const { return count == 0 ? 0 : sum / count; }
  double deviation() const {
    return count < 2 ? 0 : std::sqrt(std::max(0.0, (squares - sum * sum / count) / (count - 1)));
  }
};

void for_each_sample(const Rollout& rollout, const std::function<void(const Sample&)>& use) {
  for (const auto* groups : {&rollout.groups, &rollout.discarded}) {
    for (const Group& group : *groups) {
      for (const Sample& sample : group.samples) use(sample);
    }
  }
}

void add_range(Json& row, const std::string& prefix, const std::string& suffix,
               const Tally& tally) {
  row[prefix + "mean" + suffix] = tally.mean();
  row[prefix + "min" + suffix] = tally.lo;
  row[prefix + "max" + suffix] = tally.hi;
}

struct RewardTally {
  Tally score;
  std::map<std::string, double> reasons;
};

// Means of the rewards, reasons and facts of every sample's verdicts.
void add_verdicts(Json& row, const Rollout& rollout) {
  std::map<std::string, RewardTally> rewards;
  std::map<std::string, Tally> facts;
  std::map<std::string, double> faults;
  double samples = 0;
  for_each_sample(rollout, [&](const Sample& sample) {
    ++samples;
    for (const Verdict& verdict : sample.verdicts) {
      RewardTally& reward = rewards[verdict.name];
      if (has_score(verdict.reason)) reward.score.add(verdict.score);
      ++reward.reasons[to_string(verdict.reason)];
      if (!verdict.info.is_object()) continue;
      const auto fault = verdict.info.find("fault");
      if (verdict.reason == Reason::kCheckerError && fault != verdict.info.end() &&
          fault->is_string())
        ++faults[fault->get<std::string>()];
      for (const auto& [name, value] : verdict.info.items()) {
        if (value.is_number()) facts[name].add(value.get<double>());
        if (value.is_boolean()) facts[name].add(value.get<bool>());
      }
    }
  });
  for (const auto& [name, reward] : rewards) {
    row["rewards/" + name + "/mean"] = reward.score.mean();
    row["rewards/" + name + "/std"] = reward.score.deviation();
    double total = 0;
    for (const auto& [reason, count] : reward.reasons) total += count;
    for (const auto& [reason, count] : reward.reasons)
      row["reasons/" + name + "/" + reason] = count / total;
  }
  for (const auto& [name, tally] : facts) row["facts/" + name] = tally.mean();
  for (const auto& [name, count] : faults) row["faults/" + name] = count / samples;
}

double zero_std_share(const Rollout& rollout) {
  double zero = static_cast<double>(rollout.discarded.size());
  const auto total = static_cast<double>(rollout.groups.size() + rollout.discarded.size());
  for (const Group& group : rollout.groups) zero += group.zero_variance;
  return total == 0 ? 0 : zero / total;
}

// Mean over the groups of the rewards' deviation within the group, as TRL reports reward_std.
double group_deviation(const Rollout& rollout) {
  Tally deviations;
  for (const auto* groups : {&rollout.groups, &rollout.discarded}) {
    for (const Group& group : *groups) {
      Tally rewards;
      for (const Sample& sample : group.samples) {
        if (!sample.masked) rewards.add(sample.reward);
      }
      deviations.add(group.zero_variance ? 0 : rewards.deviation());
    }
  }
  return deviations.mean();
}

bool has_checker_error(const Sample& sample) {
  return std::any_of(sample.verdicts.begin(), sample.verdicts.end(), [](const Verdict& verdict) {
    return verdict.reason == Reason::kCheckerError;
  });
}

double mean_entropy(const Rollout& rollout) {
  double sum = 0, count = 0;
  for_each_sample(rollout, [&](const Sample& sample) {
    for (float h : sample.entropies) sum += h;
    if (!sample.entropies.empty()) count += static_cast<double>(drawn_tokens(sample));
  });
  return count == 0 ? 0 : sum / count;
}

bool is_right(const Sample& sample) {
  return std::any_of(sample.verdicts.begin(), sample.verdicts.end(),
                     [](const Verdict& verdict) { return verdict.reason == Reason::kCorrect; });
}

// Share of right samples among those that could be graded.
double solve_rate(const std::vector<Group>& groups, const std::vector<Group>* more = nullptr) {
  double right = 0, graded = 0;
  for (const auto* list : {&groups, more}) {
    if (list == nullptr) continue;
    for (const Group& group : *list) {
      for (const Sample& sample : group.samples) {
        right += is_right(sample);
        graded += !has_checker_error(sample);
      }
    }
  }
  return graded == 0 ? 0 : right / graded;
}

// What the figures of a step are of the groups alone that were trained on; without a prefix they
// are of all that was sampled.
void add_trained(Json& row, const std::vector<Group>& groups) {
  Tally rewards, lengths;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      lengths.add(static_cast<double>(drawn_tokens(sample)));
      if (!has_checker_error(sample)) rewards.add(sample.reward);
    }
  }
  row["trained/reward"] = rewards.mean();
  row["trained/mean_length"] = lengths.mean();
  row["trained/solve_rate"] = solve_rate(groups);
}

// The figures of every part of a mixture, over all that was sampled of it.
void add_parts(Json& row, const Rollout& rollout, const Task& task) {
  struct Part {
    Tally rewards, lengths;
    double right = 0, graded = 0, zero = 0, groups = 0;
  };
  std::map<std::string, Part> parts;
  for (const auto* groups : {&rollout.groups, &rollout.discarded}) {
    for (const Group& group : *groups) {
      const std::string name = task.part(group.problem);
      if (name.empty()) return;
      Part& part = parts[name];
      ++part.groups;
      part.zero += group.zero_variance;
      for (const Sample& sample : group.samples) {
        part.lengths.add(static_cast<double>(drawn_tokens(sample)));
        if (has_checker_error(sample)) continue;
        part.rewards.add(sample.reward);
        part.right += is_right(sample);
        ++part.graded;
      }
    }
  }
  for (const auto& [name, part] : parts) {
    const std::string prefix = "tasks/" + name + "/";
    row[prefix + "reward"] = part.rewards.mean();
    row[prefix + "solve_rate"] = part.graded == 0 ? 0 : part.right / part.graded;
    row[prefix + "mean_length"] = part.lengths.mean();
    row[prefix + "frac_reward_zero_std"] = part.zero / part.groups;
    row[prefix + "groups"] = part.groups;
  }
}

// The commonest fault of a checker with its words.
std::string commonest_fault(const Rollout& rollout) {
  std::map<std::string, int64_t> counts;
  for_each_sample(rollout, [&](const Sample& sample) {
    for (const Verdict& verdict : sample.verdicts) {
      if (verdict.reason != Reason::kCheckerError || !verdict.info.is_object()) continue;
      const auto text = [&](const char* name) {
        const auto found = verdict.info.find(name);
        return found != verdict.info.end() && found->is_string() ? found->get<std::string>() : "";
      };
      const std::string detail = text("detail");
      ++counts[text("fault") + (detail.empty() ? "" : ": " + detail.substr(0, 200))];
    }
  });
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? "" : most->first;
}

}  // namespace

int64_t right_samples(const Rollout& rollout) {
  int64_t right = 0;
  for_each_sample(rollout, [&](const Sample& sample) { right += is_right(sample); });
  return right;
}

Json rollout_metrics(const Rollout& rollout, const Task* task) {
  Json row = Json::object();
  Tally lengths, ended, rewards;
  double samples = 0, masked = 0, errors = 0;
  for_each_sample(rollout, [&](const Sample& sample) {
    const auto length = static_cast<double>(drawn_tokens(sample));
    lengths.add(length);
    if (sample.finish == FinishReason::kStop) ended.add(length);
    const bool error = has_checker_error(sample);
    if (!error) rewards.add(sample.reward);
    ++samples;
    masked += sample.masked;
    errors += error;
  });
  row["reward"] = rewards.mean();
  row["reward_std"] = group_deviation(rollout);
  row["frac_reward_zero_std"] = zero_std_share(rollout);
  add_range(row, "completions/", "_length", lengths);
  add_range(row, "completions/", "_terminated_length", ended);
  row["completions/clipped_ratio"] = samples == 0 ? 0 : 1 - ended.count / samples;
  row["entropy"] = mean_entropy(rollout);
  row["masked_share"] = samples == 0 ? 0 : masked / samples;
  row["checker_error_share"] = samples == 0 ? 0 : errors / samples;
  row["solve_rate"] = solve_rate(rollout.groups, &rollout.discarded);
  if (const int64_t right = right_samples(rollout); right > 0)
    row["cost/tokens_per_correct"] =
        static_cast<double>(rollout.sampled_tokens) / static_cast<double>(right);
  if (!rollout.discarded.empty()) add_trained(row, rollout.groups);
  if (task != nullptr) add_parts(row, rollout, *task);
  if (rollout.skipped_prompts > 0) row["data/skipped_prompts"] = rollout.skipped_prompts;
  row["dynamic_sampling/rounds"] = rollout.rounds;
  row["dynamic_sampling/discarded_groups"] = rollout.discarded.size();
  if (rollout.level >= 0) row["curriculum/level"] = rollout.level;
  add_verdicts(row, rollout);
  return row;
}

Json update_metrics(const StepReport& report, const LossConfig& loss) {
  Json row = Json::object();
  const LossStats& stats = report.stats;
  const double updates = std::max(1, report.updates);
  const double tokens = std::max(1.0, stats.tokens), ratios = std::max(1.0, stats.ratios);
  row["loss"] = stats.loss / updates;
  row["policy_loss"] = stats.policy_loss / updates;
  row["grad_norm"] = report.grad_norm;
  row["learning_rate"] = report.learning_rate;
  row["updates"] = report.updates;
  if (report.reverse_kl) row["distill/reverse_kl"] = *report.reverse_kl;
  if (loss.beta > 0) row["kl"] = stats.kl / tokens;
  if (loss.wants_entropy()) row["entropy_coef"] = report.entropy_coef;
  const bool any = stats.ratios > 0;
  switch (loss.rule().metrics) {
    case ClipMetrics::kCap:
      row["cispo_clip_ratio"] = stats.clipped_high / ratios;
      break;
    case ClipMetrics::kTwoSided:
      row["clip_ratio/low_mean"] = stats.clipped_low / ratios;
      row["clip_ratio/low_min"] = any ? stats.clipped_low_min : 0;
      row["clip_ratio/high_mean"] = stats.clipped_high / ratios;
      row["clip_ratio/high_max"] = any ? stats.clipped_high_max : 0;
      row["clip_ratio/region_mean"] = (stats.clipped_low + stats.clipped_high) / ratios;
      break;
    case ClipMetrics::kNone:
      break;
  }
  if (loss.correction_kind() != Correction::kNone) {
    const double weights = std::max(1.0, stats.weights);
    row["correction/mean"] = stats.weight_sum / weights;
    row["correction/bounded_share"] = stats.weights_bounded / weights;
    row["correction/effective_sample_size"] =
        stats.weight_squares > 0
            ? stats.weight_sum * stats.weight_sum / (stats.weight_squares * weights)
            : 0;
  }
  if (loss.off_policy_mask_threshold > 0) {
    row["off_policy_dropped"] = stats.off_policy_dropped / std::max(1.0, stats.samples);
  }
  row["sampling/sampling_logp_difference/mean"] = report.logp_difference_mean;
  row["sampling/sampling_logp_difference/max"] = report.logp_difference_max;
  row["sampling/recalled_share"] = report.recalled_share();
  row["sampling/importance_sampling_ratio/min"] = any ? stats.ratio_min : 1;
  row["sampling/importance_sampling_ratio/mean"] = any ? stats.ratio / ratios : 1;
  row["sampling/importance_sampling_ratio/max"] = any ? stats.ratio_max : 1;
  row["moe/max_vio"] = report.max_vio;
  if (!report.expert_load.empty()) row["moe/load"] = report.expert_load;
  if (const RoutingChange& routing = report.routing; routing.choices > 0) {
    row["moe/routing_changed/choices"] =
        static_cast<double>(routing.changed_choices) / static_cast<double>(routing.choices);
    row["moe/routing_changed/tokens"] =
        static_cast<double>(routing.changed_rows) / static_cast<double>(routing.rows);
  }
  row["trained_tokens"] = stats.tokens;
  return row;
}

StepHealth step_health(const Rollout& rollout, const StepReport& report) {
  StepHealth health;
  Tally rewards;
  double samples = 0, cut = 0, masked = 0;
  for_each_sample(rollout, [&](const Sample& sample) {
    ++samples;
    cut += sample.finish == FinishReason::kLength;
    masked += sample.masked;
    const bool error = has_checker_error(sample);
    health.checker_errors += error;
    if (!error) rewards.add(sample.reward);
  });
  health.samples = static_cast<int64_t>(samples);
  samples = std::max(1.0, samples);
  health.zero_std_share = zero_std_share(rollout);
  health.entropy = mean_entropy(rollout);
  health.truncated_share = cut / samples;
  health.masked_share = masked / samples;
  health.reward = rewards.mean();
  health.reward_deviation = rewards.deviation();
  health.solve_rate = solve_rate(rollout.groups, &rollout.discarded);
  health.kl = report.stats.kl / std::max(1.0, report.stats.tokens);
  if (health.checker_errors > 0) health.checker_detail = commonest_fault(rollout);
  health.updates = report.updates;
  health.grad_norm = report.grad_norm;
  health.logp_difference_max = report.logp_difference_max;
  return health;
}

}  // namespace zeroth

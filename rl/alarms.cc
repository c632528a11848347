#include "rl/alarms.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"

namespace zeroth {
namespace {

const std::vector<std::string> kNames = {"all_groups_equal", "entropy_collapse", "mostly_truncated",
                                         "checker_errors",   "gradient_nan",     "logp_mismatch"};

std::string number(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", x);
  return buffer;
}

std::string percent(double share) { return number(100 * share) + "%"; }

}  // namespace

Alarms::Alarms(const AlarmConfig& config) : config_(config) {
  for (const std::string& name : config_.stop_on) {
    if (std::find(kNames.begin(), kNames.end(), name) != kNames.end()) continue;
    std::string all;
    for (const std::string& known : kNames) all += " " + known;
    const std::string near = nearest(name, kNames);
    fail_usage(
        "alarms.stop_on: there is no alarm \"" + name + "\"",
        (near.empty() ? "" : "did you mean \"" + near + "\"? ") + std::string("alarms are:") + all);
  }
}

bool Alarms::lasting(const std::string& name, bool condition) {
  int64_t& count = in_a_row_[name];
  count = condition ? count + 1 : 0;
  return count == config_.patience;
}

std::vector<Alarm> Alarms::check(const StepHealth& health) {
  std::vector<Alarm> alarms;
  const auto ring = [&](const std::string& name, const std::string& message, bool always = false) {
    const auto& stops = config_.stop_on;
    alarms.push_back(
        {name, message, always || std::find(stops.begin(), stops.end(), name) != stops.end()});
  };
  const std::string steps = " for " + std::to_string(config_.patience) + " steps";
  if (lasting("all_groups_equal", health.zero_std_share >= 1)) {
    ring("all_groups_equal",
         "no group had two different rewards" + steps +
             ": the task is too hard or too easy for this policy, or its checker never varies; "
             "look at the traces, change the task's difficulty, or raise samples_per_prompt");
  }
  if (lasting("entropy_collapse", health.entropy < config_.min_entropy)) {
    ring("entropy_collapse", "mean token entropy was below " + number(config_.min_entropy) + steps +
                                 " (now " + number(health.entropy) +
                                 "): samples hardly differ any more; lower optimizer.lr, "
                                 "raise loss.clip_high, or add loss.entropy_coef");
  }
  if (lasting("mostly_truncated", health.truncated_share > config_.max_truncated)) {
    ring("mostly_truncated",
         percent(health.truncated_share) + " of the completions were cut off, over " +
             percent(config_.max_truncated) + steps +
             ": raise sampling.max_tokens, or punish length with overlong.buffer");
  }
  if (health.checker_error_share > config_.max_checker_errors) {
    ring("checker_errors",
         percent(health.checker_error_share) + " of the samples could not be graded, over " +
             percent(config_.max_checker_errors) +
             ": the checker or its sandbox is broken; see the reasons in the traces");
  }
  if (!std::isfinite(health.grad_norm)) {
    ring("gradient_nan",
         "the gradient norm is " + number(health.grad_norm) +
             "; the update was not made and the last checkpoint is kept: lower optimizer.lr or "
             "optimizer.max_grad_norm and resume from it",
         true);
  }
  if (health.logp_difference_max != 0) {
    ring("logp_mismatch",
         "training and sampling differ by up to " + number(health.logp_difference_max) +
             " in the log-probability of a token, which must be equal: this is a defect; please "
             "report it with RUN/config.json",
         true);
  }
  return alarms;
}

Json Alarms::state() const {
  Json json = Json::object();
  for (const auto& [name, count] : in_a_row_) json[name] = count;
  return json;
}

void Alarms::restore(const Json& state) {
  in_a_row_.clear();
  for (const auto& [name, count] : state.items()) in_a_row_[name] = count.get<int64_t>();
}

}  // namespace zeroth

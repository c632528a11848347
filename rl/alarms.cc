#include "rl/alarms.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "core/error.h"

namespace zeroth {
namespace {

const std::vector<std::string> kNames = {
    "all_groups_equal", "entropy_collapse", "mostly_truncated", "reward_collapse", "gradient_spike",
    "kl_high",          "checker_errors",   "dead_run",         "gradient_nan",    "logp_mismatch"};

constexpr size_t kNormWindow = 50, kFewestNorms = 10;
constexpr double kFewestErrors = 3;

std::string number(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.4g", x);
  return buffer;
}

std::string percent(double share) { return number(100 * share) + "%"; }

double sum(const std::deque<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0); }

double median(const std::deque<double>& x) {
  std::vector<double> sorted(x.begin(), x.end());
  const auto middle = sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

void push(std::deque<double>& window, double x, size_t size) {
  window.push_back(x);
  while (window.size() > size) window.pop_front();
}

// Why no group had a signal, as far as the step tells.
std::string why_equal(const StepHealth& health) {
  if (health.masked_share >= 1)
    return "every sample is masked: raise sampling.max_tokens, switch overlong.mask off, or look "
           "at "
           "the checker's faults";
  if (health.solve_rate >= 1)
    return "every sample is right: the task is too easy for this policy; make it harder, or stop "
           "here";
  if (health.solve_rate <= 0 && health.truncated_share > 0.5)
    return "no sample is right and " + percent(health.truncated_share) +
           " are cut off: raise sampling.max_tokens";
  if (health.solve_rate <= 0)
    return "no sample is right: the task is too hard for this policy, or its prompt or checker is "
           "wrong; look at the traces, make it easier, or raise samples_per_prompt";
  return "each problem is either always right or never: raise samples_per_prompt or "
         "sampling.temperature, or choose problems between too easy and too hard";
}

}  // namespace

Alarms::Alarms(const AlarmConfig& config, int64_t dead_after)
    : config_(config), dead_after_(dead_after) {
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

bool Alarms::rings(const std::string& name, bool condition, int64_t patience) {
  int64_t& count = in_a_row_[name];
  count = condition ? count + 1 : 0;
  if (count < patience) return false;
  return count == patience || (config_.repeat > 0 && (count - patience) % config_.repeat == 0);
}

bool Alarms::reward_collapsed(const StepHealth& health) {
  const auto size = static_cast<size_t>(config_.patience);
  push(rewards_, health.reward, size);
  push(deviations_, health.reward_deviation, size);
  if (rewards_.size() < size) return false;
  const double now = sum(rewards_) / static_cast<double>(size);
  if (!std::isfinite(now)) return false;
  if (!best_known_ || now > best_reward_) {
    best_reward_ = now;
    best_deviation_ = sum(deviations_) / static_cast<double>(size);
    best_known_ = true;
  }
  const double drop = best_reward_ - now;
  return config_.max_reward_drop > 0 && drop > config_.max_reward_drop * std::abs(best_reward_) &&
         drop > best_deviation_;
}

// Steps without an update have norm 0 and say nothing.
bool Alarms::gradient_spiked(const StepHealth& health) {
  if (!std::isfinite(health.grad_norm) || health.grad_norm <= 0) return false;
  const bool spike = config_.max_gradient_spike > 0 && norms_.size() >= kFewestNorms &&
                     health.grad_norm > config_.max_gradient_spike * median(norms_);
  push(norms_, health.grad_norm, kNormWindow);
  return spike;
}

bool Alarms::checker_fails(const StepHealth& health) {
  const auto size = static_cast<size_t>(config_.patience);
  push(samples_, static_cast<double>(health.samples), size);
  push(errors_, static_cast<double>(health.checker_errors), size);
  const double errors = sum(errors_), samples = sum(samples_);
  const auto bad_steps =
      std::count_if(errors_.begin(), errors_.end(), [](double e) { return e > 0; });
  const bool lasts = bad_steps >= 2 || !graded_well_;
  graded_well_ = graded_well_ || (health.samples > 0 && health.checker_errors == 0);
  return samples > 0 && errors >= std::min(kFewestErrors, samples) &&
         errors / samples > config_.max_checker_errors && lasts && health.checker_errors > 0;
}

bool Alarms::lasts(const std::string& name, bool condition) {
  return rings(name, condition, config_.patience);
}

std::string Alarms::for_steps(const std::string& name) const {
  return " for " + std::to_string(in_a_row_.at(name)) + " steps";
}

std::vector<Alarm> Alarms::check(const StepHealth& health) {
  std::vector<Alarm> alarms;
  const Ring ring = [&](const std::string& name, const std::string& message, bool always) {
    const auto& stops = config_.stop_on;
    alarms.push_back(
        {name, message, always || std::find(stops.begin(), stops.end(), name) != stops.end()});
  };
  check_samples(health, ring);
  check_learning(health, ring);
  check_grading(health, ring);
  check_soundness(health, ring);
  return alarms;
}

void Alarms::check_samples(const StepHealth& health, const Ring& ring) {
  if (lasts("all_groups_equal", health.zero_std_share >= 1)) {
    ring("all_groups_equal",
         "no group had two different rewards" + for_steps("all_groups_equal") +
             ", so nothing was learnt: " + why_equal(health),
         false);
  }
  if (lasts("entropy_collapse", health.entropy < config_.min_entropy)) {
    ring("entropy_collapse",
         "mean token entropy was below " + number(config_.min_entropy) +
             for_steps("entropy_collapse") + " (now " + number(health.entropy) +
             "): samples hardly differ any more; lower optimizer.lr, "
             "raise loss.clip_high, or add loss.entropy_coef",
         false);
  }
  if (lasts("mostly_truncated", health.truncated_share > config_.max_truncated)) {
    ring("mostly_truncated",
         percent(health.truncated_share) + " of the completions were cut off, over " +
             percent(config_.max_truncated) + for_steps("mostly_truncated") +
             ": raise sampling.max_tokens, or punish length with overlong.buffer",
         false);
  }
}

void Alarms::check_learning(const StepHealth& health, const Ring& ring) {
  if (rings("reward_collapse", reward_collapsed(health), 1)) {
    ring("reward_collapse",
         "the mean reward fell from " + number(best_reward_) + " to " +
             number(sum(rewards_) / static_cast<double>(rewards_.size())) + " (means of " +
             std::to_string(rewards_.size()) +
             " steps): go back to an earlier checkpoint with a lower optimizer.lr, or a KL term "
             "(loss.beta)",
         false);
  }
  const double usual = norms_.empty() ? 0 : median(norms_);
  if (rings("gradient_spike", gradient_spiked(health), 1)) {
    ring("gradient_spike",
         "the gradient norm is " + number(health.grad_norm) + ", its recent median " +
             number(usual) + ": lower optimizer.lr or optimizer.max_grad_norm if it comes again",
         false);
  }
  if (rings("kl_high", config_.max_kl > 0 && health.kl > config_.max_kl, 1)) {
    ring("kl_high",
         "the KL to the reference policy is " + number(health.kl) + " nats a token, over " +
             number(config_.max_kl) +
             ": lower optimizer.lr, raise loss.beta, or refresh the reference "
             "(trainer.reference_refresh)",
         false);
  }
}

void Alarms::check_grading(const StepHealth& health, const Ring& ring) {
  if (rings("checker_errors", checker_fails(health), 1)) {
    ring("checker_errors",
         percent(sum(errors_) / sum(samples_)) + " of the samples of " +
             std::to_string(errors_.size()) + " steps could not be graded, over " +
             percent(config_.max_checker_errors) + ": the checker or its sandbox is broken; " +
             (health.checker_detail.empty() ? "see the reasons in the traces"
                                            : "mostly: " + health.checker_detail),
         false);
  }
  if (dead_after_ > 0 && rings("dead_run", health.updates == 0, dead_after_)) {
    ring("dead_run",
         "no update was made" + for_steps("dead_run") + " (trainer.patience): " + why_equal(health),
         true);
  }
}

// What no run may go on with.
void Alarms::check_soundness(const StepHealth& health, const Ring& ring) {
  if (!std::isfinite(health.grad_norm)) {
    ring("gradient_nan",
         "the gradient norm is " + number(health.grad_norm) +
             "; the update was not made and the last checkpoint is kept" +
             (std::abs(health.reward) > 1e30
                  ? ". The mean reward is " + number(health.reward) + ": bound the task's scores"
                  : ": resume from it with a lower optimizer.lr or optimizer.max_grad_norm, "
                    "--change optimizer.lr=.."),
         true);
  }
  if (health.logp_difference_max != 0) {
    ring("logp_mismatch",
         "training and sampling differ by up to " + number(health.logp_difference_max) +
             " in the log-probability of a token, which must be equal: this is a defect; please "
             "report it with RUN/config.json",
         true);
  }
}

Json Alarms::state() const {
  Json json = Json::object();
  for (const auto& [name, count] : in_a_row_) json[name] = count;
  json["windows"] = {{"rewards", rewards_},
                     {"deviations", deviations_},
                     {"norms", norms_},
                     {"samples", samples_},
                     {"errors", errors_},
                     {"best_reward", best_reward_},
                     {"best_deviation", best_deviation_},
                     {"best_known", best_known_},
                     {"graded_well", graded_well_}};
  return json;
}

void Alarms::restore(const Json& state) {
  *this = Alarms(config_, dead_after_);
  for (const auto& [name, count] : state.items()) {
    if (count.is_number_integer()) in_a_row_[name] = count.get<int64_t>();
  }
  if (!state.contains("windows")) return;
  const Json& windows = state["windows"];
  // A number that is not finite is written as null.
  const auto take = [&](const char* name, std::deque<double>& window) {
    for (const Json& x : windows.at(name))
      window.push_back(x.is_number() ? x.get<double>() : std::nan(""));
  };
  take("rewards", rewards_);
  take("deviations", deviations_);
  take("norms", norms_);
  take("samples", samples_);
  take("errors", errors_);
  best_reward_ = windows.at("best_reward").get<double>();
  best_deviation_ = windows.at("best_deviation").get<double>();
  best_known_ = windows.at("best_known").get<bool>();
  graded_well_ = windows.at("graded_well").get<bool>();
}

}  // namespace zeroth

#include "rl/doctor.h"

#include <stdlib.h>

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/system.h"
#include "core/temporary_folder.h"
#include "core/terminal.h"
#include "rl/advantage.h"
#include "rl/metrics.h"
#include "rl/training_run.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f%%", 100 * share);
  return text;
}

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return text;
}

class Doctor {
 public:
  Doctor(const RunConfig& config, int groups, double whole_step_seconds,
         const std::atomic<bool>* stop, const std::function<void()>& interrupted)
      : asked_(config),
        whole_step_seconds_(whole_step_seconds),
        stop_(stop),
        interrupted_(interrupted) {
    RunConfig few = config;
    few.prompts_per_step = std::min(groups, config.prompts_per_step);
    few.fleet.listen.clear();  // it looks at this machine
    few.async = {};
    few.trainer.mini_batches = std::min(few.trainer.mini_batches, few.prompts_per_step);
    few.dynamic_sampling.max_rounds = 0;  // what the task gives, not what would be kept of it
    few.record.traces = few.record.progress = false;
    few_ = few;
  }

  Diagnosis run() {
    before_mb_ = system::own_memory().now_mb;
    double seconds = step(few_, false);
    const double scale = static_cast<double>(asked_.prompts_per_step) / few_.prompts_per_step;
    result_.whole_step = scale <= 1;
    if (scale > 1 && seconds * scale <= whole_step_seconds_) {
      RunConfig whole = few_;
      whole.prompts_per_step = asked_.prompts_per_step;
      whole.trainer.mini_batches = asked_.trainer.mini_batches;
      seconds = step(whole, true);
      result_.whole_step = true;
    }
    result_.seconds_per_step = seconds * (result_.whole_step ? 1 : scale) * rounds();
    const double peak = system::own_memory().peak_mb;
    // Weights, moments and gradients are there whatever the size of a step; the rest grows with it,
    // up to the bounds of cache and micro-batches, so this is an upper estimate.
    result_.memory_mb = result_.whole_step ? peak : loaded_mb_ + (peak - loaded_mb_) * scale;
    warn();
    return std::move(result_);
  }

 private:
  // Seconds of sampling, grading and update; fills the result.
  double step(const RunConfig& config, bool again) {
    const TemporaryFolder folder("doctor");
    const auto run = TrainingRun::create(folder.path() / "run", config);
    RunParts& parts = *run->parts;
    loaded_mb_ = system::own_memory().now_mb;
    result_.context = parts.policy->config().max_position;
    if (!again) {
      for (const auto* lines : {&parts.screen->lines(), &parts.evaluations->lines()})
        result_.warnings.insert(result_.warnings.end(), lines->begin(), lines->end());
      const auto& notes = parts.tokenizer->special().notes;
      result_.warnings.insert(result_.warnings.end(), notes.begin(), notes.end());
    }
    int64_t draws = 0;
    Rollout rollout;
    StepReport report;
    try {
      rollout = parts.rollouts->collect(0, draws, stop_);
      parts.sampler->publish(nullptr);  // as the training loop
      assign_advantages(rollout.groups, config.advantage);
      report = parts.trainer->update(rollout.groups, 0, rollout.tickets, stop_);
    } catch (const Interrupted&) {
      std::error_code ignored;
      fs::remove_all(folder.path(), ignored);
      if (interrupted_) interrupted_();
      throw;
    }
    const StepHealth health = step_health(rollout, report);
    result_.groups = static_cast<int>(rollout.groups.size());
    result_.samples = health.samples;
    result_.solve_rate = health.solve_rate;
    result_.zero_variance = health.zero_std_share;
    result_.truncated = health.truncated_share;
    result_.masked = health.masked_share;
    result_.checker_errors = health.samples == 0 ? 0
                                                 : static_cast<double>(health.checker_errors) /
                                                       static_cast<double>(health.samples);
    result_.reward = health.reward;
    result_.mean_length = static_cast<double>(rollout.sampled_tokens) /
                          static_cast<double>(std::max<int64_t>(1, health.samples));
    result_.prompt_ids = rollout.groups.front().prompt_tokens;
    result_.prompt = parts.tokenizer->decode(result_.prompt_ids, false);
    detail_ = health.checker_detail;
    const auto weights = static_cast<double>(parts.policy->parameters().values().size());
    // Weights, two moments, and the reference when there is one.
    result_.checkpoint_mb = weights * 4 * (asked_.loss.beta > 0 ? 4 : 3) / (1 << 20);
    return rollout.generate_seconds + rollout.grade_seconds + report.seconds;
  }

  // Rounds of drawing that dynamic sampling will need at the share of groups without signal.
  double rounds() const {
    if (asked_.dynamic_sampling.max_rounds == 0) return 1;
    const double most = 1 + asked_.dynamic_sampling.max_rounds;
    return result_.zero_variance >= 1 ? most : std::min(most, 1 / (1 - result_.zero_variance));
  }

  void warn() {
    auto& warnings = result_.warnings;
    if (result_.checker_errors > 0) {
      warnings.push_back(percent(result_.checker_errors) + " of the samples could not be graded" +
                         (detail_.empty() ? "" : "; mostly: " + detail_));
    }
    if (result_.masked >= 1) {
      warnings.push_back("every sample is masked, so nothing would be learnt");
    } else if (result_.zero_variance >= 1) {
      warnings.push_back(
          std::string("no group has two different rewards, so nothing would be learnt: ") +
          (result_.solve_rate >= 1   ? "the task is too easy for this policy"
           : result_.solve_rate <= 0 ? "the task is too hard for this policy, or its prompt or "
                                       "checker is wrong"
                                     : "raise samples_per_prompt or sampling.temperature"));
    } else if (result_.zero_variance > 0.8) {
      warnings.push_back(percent(result_.zero_variance) +
                         " of the groups have no signal: raise samples_per_prompt, set "
                         "dynamic_sampling.max_rounds, or choose other problems");
    }
    if (result_.truncated > 0.5) {
      warnings.push_back(percent(result_.truncated) + " of the completions are cut off at " +
                         std::to_string(asked_.sampling.max_tokens) +
                         " tokens: raise sampling.max_tokens");
    }
    const double available = system::free_memory_mb();
    if (available >= 0 && result_.memory_mb - before_mb_ > available + loaded_mb_) {
      warnings.push_back("a step needs about " + number(result_.memory_mb) + " MiB, " +
                         number(available) +
                         " MiB are free: lower trainer.micro_batch_tokens, trainer.leaf_tokens, "
                         "trainer.reuse_mb, engine.cache_mb or engine.max_batch, or set "
                         "trainer.recompute");
    }
    std::error_code error;
    const fs::space_info space = fs::space(".", error);
    const double kept = asked_.keep_last > 0
                            ? asked_.keep_last + 1.0
                            : 1.0 + static_cast<double>(asked_.steps) /
                                        static_cast<double>(asked_.checkpoint_every);
    const double needed = kept * result_.checkpoint_mb;
    const double free = static_cast<double>(space.available) / (1 << 20);
    if (!error && needed > free) {
      warnings.push_back("checkpoints will need about " + number(needed) + " MiB, " + number(free) +
                         " MiB are free here: lower keep_last");
    }
    if (asked_.optimizer.lr == 0)
      warnings.push_back("optimizer.lr is 0, so nothing would be learnt");
    if (asked_.optimizer.warmup_steps >= asked_.steps) {
      warnings.push_back("optimizer.warmup_steps is " +
                         std::to_string(asked_.optimizer.warmup_steps) + " of " +
                         std::to_string(asked_.steps) + " steps");
    }
  }

  RunConfig asked_, few_;
  double whole_step_seconds_;
  const std::atomic<bool>* stop_;
  const std::function<void()>& interrupted_;
  double before_mb_ = 0, loaded_mb_ = 0;
  std::string detail_;
  Diagnosis result_;
};

}  // namespace

Json Diagnosis::to_json() const {
  return {{"solve_rate", solve_rate},
          {"zero_variance", zero_variance},
          {"truncated", truncated},
          {"prompt", prompt},
          {"prompt_ids", prompt_ids},
          {"memory_mb", memory_mb},
          {"seconds_per_step", seconds_per_step},
          {"warnings", warnings},
          {"groups", groups},
          {"samples", samples},
          {"masked", masked},
          {"checker_errors", checker_errors},
          {"reward", reward},
          {"mean_length", mean_length},
          {"context", context},
          {"whole_step", whole_step},
          {"checkpoint_mb", checkpoint_mb}};
}

std::string Diagnosis::to_text() const {
  std::string text = "prompt of the first problem, " + std::to_string(prompt_ids.size()) +
                     " tokens:\n" + printable(prompt) + "\n";
  const auto line = [&](const char* name, const std::string& value) {
    char row[256];
    std::snprintf(row, sizeof row, "%-22s %s\n", name, value.c_str());
    text += row;
  };
  line("sampled", std::to_string(samples) + " completions of " + std::to_string(groups) +
                      " problems, " + number(mean_length) + " tokens each");
  line("solved", percent(solve_rate) + ", mean reward " + number(reward));
  line("groups without signal", percent(zero_variance));
  line("cut off", percent(truncated));
  if (checker_errors > 0) line("not graded", percent(checker_errors));
  line("a step takes", number(seconds_per_step) + " s" + (whole_step ? "" : " (scaled up)"));
  line("memory", number(memory_mb) + " MiB at the peak" + (whole_step ? "" : ", at most"));
  line("a checkpoint takes", number(checkpoint_mb) + " MiB on disk");
  for (const std::string& warning : warnings) text += "warning: " + warning + "\n";
  if (warnings.empty()) text += "nothing stands out\n";
  return text;
}

Diagnosis diagnose(const RunConfig& config, int groups, double whole_step_seconds,
                   const std::atomic<bool>* stop, const std::function<void()>& interrupted) {
  return Doctor(config, groups, whole_step_seconds, stop, interrupted).run();
}

}  // namespace zeroth

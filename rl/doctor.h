// A few groups of a run before it is started: is there anything to learn from, and what will it
// cost?
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "rl/run_config.h"

namespace zeroth {

struct Diagnosis {
  int groups = 0;
  int64_t samples = 0;
  double solve_rate = 0;     // right samples among those that could be graded
  double zero_variance = 0;  // share of groups whose rewards are all equal
  double truncated = 0;      // share of completions that the length limit ended
  double masked = 0, checker_errors = 0;
  double reward = 0, mean_length = 0;
  std::string prompt;  // of the first problem, as it is tokenised
  std::vector<TokenId> prompt_ids;
  int64_t context = 0;          // of the policy, in tokens
  double memory_mb = 0;         // of this process at its peak, for a whole step
  double seconds_per_step = 0;  // sampling, grading and update
  bool whole_step = false;   // both were measured on a whole step, not scaled up from a few groups
  double checkpoint_mb = 0;  // on disk, each
  std::vector<std::string> warnings;

  // The contract of `zeroth doctor --json`, extras at the end.
  Json to_json() const;
  // For a person.
  std::string to_text() const;
};

// Samples and grades `groups` groups of step 0 with the config's own model, task and settings, and
// makes one update in memory; a whole step when that takes at most about `whole_step_seconds`.
// Nothing is left behind: the run's folder is a temporary one. Blocks. Throws Error where the run
// itself would, before its first step, and Interrupted when `stop` becomes true, after
// `interrupted`, unless it is null: a reward call that was given up is waited for behind it.
Diagnosis diagnose(const RunConfig& config, int groups, double whole_step_seconds,
                   const std::atomic<bool>* stop = nullptr,
                   const std::function<void()>& interrupted = {});

}  // namespace zeroth

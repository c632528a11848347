// What a run evaluates on: its own task's held-out problems, and any number of other tasks, files
// and splits.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rl/evaluate.h"
#include "rl/prompt_screen.h"
#include "rl/run_config.h"

namespace zeroth {

class EvaluationSets {
 public:
  // Makes the tasks of config.evaluation.sets. `task` is the run's own, `screen` its. All arguments
  // must outlive it; `context` is the policy's, in tokens. Throws Error(kUsage) naming the set for
  // names that are missing, double or no path component, and for unknown keys.
  EvaluationSets(const RunConfig& config, const Task& task, const PromptScreen& screen,
                 const Tokenizer& tokenizer, int64_t context);

  // What the prompts of the sets' files are like, a line each.
  const std::vector<std::string>& lines() const { return lines_; }
  // Options of all sets, for fingerprints.
  Json options() const;

  struct Calls {
    const std::atomic<bool>* stop = nullptr;
    Background* background = nullptr;
    Team* team = nullptr;  // see EvalOptions
    // Groups to record: `first` is the number of the first among all of this evaluation.
    std::function<void(int64_t first, const std::vector<Group>& groups)> record;
  };
  // Samples and grades every set with the current weights and puts eval/.. and eval/NAME/.. into
  // `row`, for mixtures eval/PART/.. too. Throws Interrupted when stopped, with `row` unchanged.
  void run(Sampler& sampler, const Tokenizer& tokenizer, const Calls& calls, Json& row) const;

 private:
  struct Set {
    std::string prefix;  // "eval/" or "eval/NAME/"
    EvalOptions options;
    const Task* task = nullptr;
    std::unique_ptr<Task> owned;
    std::unique_ptr<PromptScreen> screen;
    std::unique_ptr<LengthHistory> lengths;
    Json task_options;
  };
  void add(const Json& json);

  const RunConfig& config_;
  std::vector<Set> sets_;
  std::vector<std::string> lines_;
};

// Puts the numbers of a report into `row` under names that begin with `prefix`, those of the parts
// of a mixture under prefix + PART + "/".
void add_report(const std::string& prefix, const EvalReport& report, Json& row);

}  // namespace zeroth

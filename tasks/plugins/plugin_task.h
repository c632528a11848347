// A task that lives outside the binary: a command, a shared library or an HTTP server grades, and
// may make the problems too. One contract, described in docs/tasks.md.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tasks/environment.h"
#include "tasks/plugins/plugin_options.h"
#include "tasks/task.h"

namespace zeroth {

// Verdicts: "accuracy", then one for each of the plug-in's "parts", then "format" when it has a
// weight. A result of null makes accuracy Reason::kNotApplicable; a reason in the plug-in's own
// words is kept as the fact "said". A fault of the plug-in makes accuracy Reason::kCheckerError
// with the facts "fault" (see PluginFaultKind) and "detail". Problems of the plug-in are kept once
// asked for. A hello with "turns" makes it an environment of at most so many turns, and no more than
// max_turns.
class PluginTask : public BatchTask, public Environment {
 public:
  // Starts a worker and greets it; throws Error when that fails.
  PluginTask(std::string name, PluginOptions options,
             std::function<std::unique_ptr<PluginChannel>(int)> make);
  ~PluginTask() override;
  std::string name() const override { return name_; }
  int64_t size(Split split) const override;
  // Throws Error when the plug-in does not give it.
  Problem problem(Split split, int64_t index) const override;
  ProblemOrigin origin(Split split, int64_t index) const override;
  bool reads_rows() const override { return base_ != nullptr && base_->reads_rows(); }
  std::string part(const Problem& problem) const override {
    return base_ ? base_->part(problem) : std::string();
  }
  bool is_chat(const Problem& problem) const override {
    return base_ ? base_->is_chat(problem) : options_.is_chat();
  }
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override;
  // The reference answer in an answer block, or the problem's meta.gold.
  std::string gold_completion(const Problem& problem) const override;
  int levels() const override;
  std::vector<std::string> stop_strings() const override;
  std::string cluster(const Problem& problem) const override;
  bool grades_here() const override { return false; }
  std::vector<std::string> notes() const override {
    return base_ ? base_->notes() : std::vector<std::string>();
  }
  const Environment* environment() const override {
    return turns_ > 0 ? this : base_ ? base_->environment() : nullptr;
  }
  int max_turns(const Problem&) const override { return turns_; }
  int max_observation_tokens(const Problem&) const override {
    return options_.max_observation_tokens;
  }
  double turn_weight(const Problem&) const override { return options_.turn_weight; }
  std::vector<StepResult> step(std::span<const StepRequest> requests) const override;

 private:
  FormatRules rules_for(const Problem& problem) const;
  void read_turns(const Json& hello);
  StepResult step_of(const PluginOutcome& outcome) const;
  StepResult read_step(const Json& result) const;
  Problem read_problem(Split split, int64_t index, const Json& row) const;
  std::vector<Verdict> verdicts_of(const GradeRequest& request, const PluginOutcome& outcome) const;
  void read_result(const Json& result, std::vector<Verdict>& verdicts) const;
  void read_parts(const Json& parts, std::vector<Verdict>& verdicts) const;

  std::string name_;
  PluginOptions options_;
  std::unique_ptr<Task> base_;  // makes the problems; null: the plug-in does
  std::unique_ptr<PluginPool> pool_;
  int64_t sizes_[2] = {0, 0};
  int levels_ = 1;
  int turns_ = 0;  // 0: no environment
  bool whole_groups_ = false;
  std::vector<std::string> stop_strings_;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int, int64_t>, Problem> known_;  // guarded by mutex_
};

std::unique_ptr<Task> make_process_task(ProcessOptions options);
std::unique_ptr<Task> make_so_task(SoOptions options);
std::unique_ptr<Task> make_http_task(HttpOptions options);

}  // namespace zeroth

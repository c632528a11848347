// Any task, with tools that the policy may call while it answers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/environment.h"
#include "tasks/task.h"
#include "tasks/task_spec.h"
#include "tasks/tools/tool.h"

namespace zeroth {

struct ToolsOptions : EnvironmentLimits {
  Json task;
  std::vector<std::string> tools = {"calculator"};
  std::string calls = "tags";
  std::string result_open = "<result>";
  std::string result_close = "</result>";
  double call_reward = 0;
  double time_limit = 5;
  int memory_mb = 256;
  int max_output = 4096;
  int workers = 0;
  template <class V>
  void fields(V& v) {
    v("task", task, "the task: \"NAME:key=value,..\" or {\"name\": .., \"options\": {..}}");
    v("tools", tools, "what may be called: calculator, python");
    v("calls", calls,
      "what a call looks like: tags = <calculator>3*4</calculator>, answered by "
      "<result>12</result>; equals = the calculator writes what follows the sign = behind an "
      "expression",
      Choice{{"tags", "equals"}});
    v("result_open", result_open, "tags: what stands in front of an answer");
    v("result_close", result_close, "tags: what stands behind an answer");
    v("call_reward", call_reward, "reward of a turn that ends with a call that succeeds",
      Range{-1000, 1000});
    v("time_limit", time_limit, "python: seconds of a call", Range{0.05, 600});
    v("memory_mb", memory_mb, "python: memory of a call in MiB", Range{32, 65536});
    v("max_output", max_output, "python: bytes of an answer", Range{1, 1 << 20});
    v("workers", workers, "python: sandboxes at a time; 0 = one per core", Range{0, 1024});
    EnvironmentLimits::fields(v);
  }
};

// Problems, prompts and grades are those of the inner task. A turn that ends with a call is answered
// by the tool, any other ends the sample. Answers are text in the middle of the response, whatever
// the template; they are no part of what is graded. Facts: "tool_calls", "tool_errors".
class ToolsTask : public Task, public Environment {
 public:
  // Options that contradict each other are usage Errors.
  explicit ToolsTask(ToolsOptions options);
  ~ToolsTask() override;
  const Task& inner() const { return *inner_; }

  std::string name() const override { return inner_->name(); }
  int64_t size(Split split) const override { return inner_->size(split); }
  Problem problem(Split split, int64_t i) const override { return inner_->problem(split, i); }
  ProblemOrigin origin(Split split, int64_t i) const override { return inner_->origin(split, i); }
  bool reads_rows() const override { return inner_->reads_rows(); }
  std::string part(const Problem& p) const override { return inner_->part(p); }
  bool is_chat(const Problem& p) const override { return inner_->is_chat(p); }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override {
    return inner_->grade(problem, completion, finish);
  }
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override {
    return inner_->grade_batch(requests);
  }
  std::string gold_completion(const Problem& p) const override {
    return inner_->gold_completion(p);
  }
  int levels() const override { return inner_->levels(); }
  std::vector<std::string> notes() const override { return inner_->notes(); }
  std::vector<std::string> stop_strings() const override { return inner_->stop_strings(); }
  std::string cluster(const Problem& p) const override { return inner_->cluster(p); }
  bool grades_here() const override { return inner_->grades_here(); }
  const Environment* environment() const override { return this; }

  int max_turns(const Problem&) const override { return options_.max_turns; }
  int max_observation_tokens(const Problem&) const override {
    return options_.max_observation_tokens;
  }
  double turn_weight(const Problem&) const override { return options_.turn_weight; }
  std::vector<std::string> turn_stops(const Problem& problem) const override;
  std::vector<StepResult> step(std::span<const StepRequest> requests) const override;

 private:
  struct Call {
    size_t tool = 0;
    std::string_view text;
    bool found = false;
  };
  Call call_of(std::string_view reply) const;

  const ToolsOptions options_;
  std::unique_ptr<Task> inner_;
  std::unique_ptr<SandboxPool> pool_;  // with the tool python
  std::vector<std::unique_ptr<Tool>> tools_;
};

// The name and options of the inner task of ToolsOptions::task. Throws a usage Error.
TaskSpec inner_spec(const Json& task);

}  // namespace zeroth

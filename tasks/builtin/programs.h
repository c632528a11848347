// Tiny program synthesis: two examples fix a function of two numbers; the answer is a Python lambda
// that is run on hidden inputs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/builtin/code_task.h"
#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct ProgramsOptions : ResponseOptions, SandboxOptions {
  int operators = 6;
  int max_input = 3;
  int held_out_every = 4;
  uint64_t seed = 0;
  std::string runner = "native";
  template <class V>
  void fields(V& v) {
    v("operators", operators,
      "functions that problems are made from: the first so many of the list", Range{2, 12});
    v("max_input", max_input, "inputs are 0..max_input", Range{1, 9});
    v("held_out_every", held_out_every, "one problem in this many is held out, by its hash",
      Range{2, 1000000});
    v("seed", seed, "order of the problems");
    v("runner", runner, "native: evaluated here; sandbox: run by Python in the sandbox",
      Choice{{"native", "sandbox"}});
    SandboxOptions::fields(v);
    ResponseOptions::fields(v);
  }
};

// Prompt "f(1,2)=3 f(3,0)=3". Only one function of the list fits both examples. The answer block
// holds a lambda (see tasks/builtin/small_function.h; any Python function body with runner=sandbox)
// that has to give the right result on every input pair, the shown ones included. Facts: tests,
// tests_right, examples_right (of the two shown, native runner only).
class ProgramsTask : public BatchTask {
 public:
  explicit ProgramsTask(ProgramsOptions options);
  ~ProgramsTask() override;
  std::string name() const override { return "programs"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }
  bool grades_here() const override { return pool_ == nullptr; }
  const ProgramsOptions& options() const { return options_; }

  // Bodies of the functions in use, "a+b" first.
  std::vector<std::string> bodies() const;

 private:
  struct Instance {
    int function;
    int a[2], b[2];  // the two examples
  };
  Verdict run_native(std::string_view program, const Problem& problem) const;

  ProgramsOptions options_;
  std::vector<Instance> instances_[2];
  std::vector<CodeTests> tests_;  // by function, runner=sandbox
  std::unique_ptr<SandboxPool> pool_;
};

}  // namespace zeroth

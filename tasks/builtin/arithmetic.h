// Multi-digit arithmetic with written working: sums, differences and products.
#pragma once

#include <functional>
#include <string>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct ArithmeticOptions : ResponseOptions {
  int digits = 3;
  std::string ops = "+-";
  int held_out_every = 8;
  uint64_t seed = 0;
  double process_weight = 0;
  bool check_steps = false;

  ArithmeticOptions() { prompt_template = "bare"; }  // the question ends with '='

  template <class V>
  void fields(V& v) {
    v("digits", digits, "operands have 1 to this many digits", Range{1, 9});
    v("ops", ops, "operations, a choice of + - *");
    v("held_out_every", held_out_every, "one problem in this many is held out, by its hash",
      Range{2, 1000000});
    v("seed", seed, "which problems are drawn");
    v("process_weight", process_weight,
      "weight of the process reward: the share of stated steps that are right", Range{-1000, 1000});
    v("check_steps", check_steps,
      "steps of process supervision are the lines of the working, each right where it is the line "
      "that belongs there; else they are all equations, each by itself");
    ResponseOptions::fields(v);
  }
};

// Prompt "123+456="; the answer block must hold the result. Verdicts: "accuracy" (facts steps,
// steps_right; with check_steps also step_rewards, docs/algorithms.md), "format" and "process"
// (rewards/process.h).
class ArithmeticTask : public Task {
 public:
  explicit ArithmeticTask(ArithmeticOptions options);
  std::string name() const override { return "arithmetic"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }
  const ArithmeticOptions& options() const { return options_; }

 private:
  ArithmeticOptions options_;
};

// What somebody writes in place of the right value of a line: gets it, and returns what is written.
using WriteDown = std::function<int64_t(int64_t right)>;

struct Working {
  std::string lines;
  int64_t result = 0;  // that follows from what the lines say, slips included
};

// Digit-by-digit working of a op b (a, b >= 0), one equation a line, so that each line can be
// checked by itself. Sums add place by place from the ones, "7+8+1=16" with the carry as the last
// summand; differences borrow, "13-8=5"; products sum the partial products, "123*40=4920" then
// "369+4920=5289". write_down gets the right value of every line, given the lines above it.
Working work_out(int64_t a, char op, int64_t b, const WriteDown& write_down);

// The lines of work_out without a slip.
std::string scratch_lines(int64_t a, char op, int64_t b);

}  // namespace zeroth

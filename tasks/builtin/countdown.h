// Countdown: join given numbers by + - * / into a target, every number exactly once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct CountdownOptions : ResponseOptions {
  int count = 3;
  int max_number = 16;
  int max_value = 40;
  int held_out_every = 3;
  uint64_t seed = 0;
  std::string question = "compact";
  std::string data;
  std::string held_out_data;

  template <class V>
  void fields(V& v) {
    v("count", count, "numbers of a problem", Range{2, 6});
    v("max_number", max_number, "numbers are 1..max_number", Range{2, 1000});
    v("max_value", max_value,
      "targets and intermediate results of the made problems are 1..max_value", Range{2, 100000});
    v("held_out_every", held_out_every,
      "one multiset of numbers in this many is held out, by its hash", Range{2, 1000000});
    v("seed", seed, "which problems are made, and their order");
    v("question", question, "compact: 'Numbers 3 5 7 target 21'; words: an English sentence",
      Choice{{"compact", "words"}});
    v("data", data,
      "JSONL with nums (or numbers) and target instead of made problems; rows that no expression "
      "solves are left out, and said");
    v("held_out_data", held_out_data,
      "JSONL of held-out problems; training drops every multiset that occurs in it");
    ResponseOptions::fields(v);
  }
};

// Made problems follow the rule "larger operand first, results whole and within 1..max_value", so
// all are solvable; the target is none of the numbers. With few multisets (3 numbers up to 28, say)
// the table of all problems is enumerated and ordered so that any n consecutive ones cover as many
// multisets as possible; with more, problem(i) is drawn. cluster() is the multiset. problem.meta
// holds {"nums": [..], "target": t}. Verdicts: "accuracy" (exact rational check, with the facts of
// tasks/builtin/countdown_trace.h) and "format".
class CountdownTask : public Task {
 public:
  explicit CountdownTask(CountdownOptions options);
  ~CountdownTask() override;
  std::string name() const override { return "countdown"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }
  std::string cluster(const Problem& problem) const override;
  std::vector<std::string> notes() const override { return notes_; }
  const CountdownOptions& options() const { return options_; }

 private:
  struct Instance {
    std::vector<int> numbers;  // in prompt order
    int target = 0;
  };
  void enumerate();
  void read_data();
  Instance draw(Split split, int64_t index) const;

  CountdownOptions options_;
  std::vector<std::string> notes_;  // rows that were left out
  bool drawn_ = false;
  std::vector<Instance> instances_[2];  // by split, unless drawn_
};

}  // namespace zeroth

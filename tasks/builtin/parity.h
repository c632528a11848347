// d-bit parity: the task on which the effect of RL after next-token prediction can be computed in
// closed form (arXiv 2510.11495).
#pragma once

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

struct ParityOptions {
  int bits = 16;
  std::string separator;
  int held_out_every = 8;
  uint64_t seed = 0;
  double accuracy_weight = 1;
  double format_weight = 0;

  template <class V>
  void fields(V& v) {
    v("bits", bits, "length of the bit string", Range{1, 4096});
    v("separator", separator, "text between bits, for vocabularies that join digits");
    v("held_out_every", held_out_every, "one bit string in this many is held out, by its hash",
      Range{2, 1000000});
    v("seed", seed, "which bit strings are drawn");
    v("accuracy_weight", accuracy_weight, "weight of the accuracy reward", Range{-1000, 1000});
    v("format_weight", format_weight, "weight of the format reward", Range{-1000, 1000});
  }
};

// Prompt "0110=": d bits and '='. Answer: the text after the thinking, or the whole completion when
// it does not think, must be "0" or "1". Format: "y", or "<think>z1..zd</think>y" with d bits.
// problem.meta holds {"bits": "0110"}. Facts: chain (bits in the
// thinking), chain_right (running parities that are right).
class ParityTask : public Task {
 public:
  explicit ParityTask(ParityOptions options);
  std::string name() const override { return "parity"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  const ParityOptions& options() const { return options_; }

  // Running parities of a bit string, as text with the separator; the last one is the answer.
  std::string chain(std::string_view bits) const;

 private:
  std::string join(std::string_view bits) const;
  ParityOptions options_;
};

}  // namespace zeroth

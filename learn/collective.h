// Learners that share a step: each differentiates a part of its samples, and all make the same
// update.
#pragma once

#include <cstdint>
#include <span>

#include "learn/gradient_tree.h"

namespace zeroth {

// Every member makes the same calls in the same order; a call may wait for the others. Results are
// the same bits on every member. Not thread safe.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;
  // The sum over the branches of all members, which are neighbours in the order of ranks.
  virtual std::span<float> reduce(GradientTree& gradients) = 0;
  // Replaces each count by its sum over members.
  virtual void add(std::span<int64_t> counts) = 0;
};

// One member: nothing to add, nobody to wait for.
class Alone : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::span<float> reduce(GradientTree& gradients) override { return gradients.total(); }
  void add(std::span<int64_t>) override {}
};

}  // namespace zeroth

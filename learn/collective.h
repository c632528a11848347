// Learners that share a step: each differentiates a part of its samples, and all make the same
// update.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace zeroth {

// Every member makes the same calls in the same order; a call may wait for the others. Results are
// the same bits on every member. Not thread safe.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;
  // Replaces each value by its sum over members, in the order of their ranks.
  virtual void add(std::span<float> values) = 0;
  virtual void add(std::span<double> values) = 0;
  virtual void add(std::span<int64_t> values) = 0;
};

// One member: nothing to add, nobody to wait for.
class Alone : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void add(std::span<float>) override {}
  void add(std::span<double>) override {}
  void add(std::span<int64_t>) override {}
};

}  // namespace zeroth

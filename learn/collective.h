// Learners that share a step: each differentiates a part of its samples and updates a part of the
// parameters, and all end with the same ones.
#pragma once

#include <cstdint>
#include <span>

#include "learn/gradient_tree.h"
#include "learn/shards.h"

namespace zeroth {

// Every member makes the same calls in the same order; a call may wait for the others. Results are
// the same bits on every member, for any number of members. Not thread safe.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;
  // The sum over the branches of all members, which are neighbours in the order of ranks. Only the
  // floats that this member needs (Shards::needed) are of use. `collected`, where shards have
  // experts: what this member's experts got by the branches of others, by rank (its own: null).
  virtual std::span<float> reduce(GradientTree& gradients, const Shards& shards,
                                  std::span<GradientTree* const> collected = {}) = 0;
  // Every member has set the floats of its shard; afterwards all have all that members share.
  virtual void gather(std::span<float> values, const Shards& shards) = 0;
  // The same for one number a chunk.
  virtual void gather_chunks(std::span<double> values, const Shards& shards) = 0;
  // Replaces each count by its sum over members.
  virtual void add(std::span<int64_t> counts) = 0;
};

// One member: nothing to add, nobody to wait for.
class Alone : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::span<float> reduce(GradientTree& gradients, const Shards&,
                          std::span<GradientTree* const>) override {
    return gradients.total();
  }
  void gather(std::span<float>, const Shards&) override {}
  void gather_chunks(std::span<double>, const Shards&) override {}
  void add(std::span<int64_t>) override {}
};

// The branches that member `rank` of `size` adds.
inline TreeNode own_branches(int branches, int rank, int size) {
  return {static_cast<int>(int64_t{branches} * rank / size),
          static_cast<int>(int64_t{branches} * (rank + 1) / size)};
}

}  // namespace zeroth

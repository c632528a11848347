// The members of a team (ranks/team.h) as a collective: node messages of the gradient tree.
#pragma once

#include <memory>

#include "learn/collective.h"
#include "model/buffer.h"
#include "ranks/team.h"

namespace zeroth {

// A member sends of each tree node that its branches fill whole what belongs to another's shard,
// and finishes the tree over its own shard: a reduce-scatter in one round, with at most
// 2 log2(branches) nodes a member and in most cases one. Additions and their order are those of one
// learner with all branches (learn/gradient_tree.h), so the bits are too.
class TreeCollective : public Collective {
 public:
  explicit TreeCollective(Team& team) : team_(team) {}
  int rank() const override { return team_.rank(); }
  int size() const override { return team_.size(); }
  std::span<float> reduce(GradientTree& gradients, const Shards& shards,
                          std::span<GradientTree* const> collected = {}) override;
  void gather(std::span<float> values, const Shards& shards) override;
  void gather_chunks(std::span<double> values, const Shards& shards) override;
  void add(std::span<int64_t> counts) override;

 private:
  Team& team_;
  std::unique_ptr<ZeroedFloats> sum_;  // of which the own shard is used
};

}  // namespace zeroth

// The members of a team (ranks/team.h) as a collective: node messages of the gradient tree.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "learn/collective.h"
#include "model/buffer.h"
#include "ranks/team.h"

namespace zeroth {

// A member sends of each tree node that its branches fill whole what belongs to another's shard,
// and finishes the tree over its own shard: a reduce-scatter with at most 2 log2(branches) nodes a
// member and in most cases one. Additions and their order are those of one learner with all
// branches (learn/gradient_tree.h), so the bits are too.
//
// Bands of the shards go one by one, the highest first, as they are completed; what others send is
// taken from the moment on at which the reduction is begun.
class TreeCollective : public Collective {
 public:
  explicit TreeCollective(Team& team) : team_(team) {}
  ~TreeCollective() override;
  TreeCollective(const TreeCollective&) = delete;
  TreeCollective& operator=(const TreeCollective&) = delete;
  int rank() const override { return team_.rank(); }
  int size() const override { return team_.size(); }
  void begin_reduce(const std::vector<bool>& filled, const Shards& shards) override;
  void contribute(GradientTree& gradients, int64_t from) override;
  std::span<float> reduce(GradientTree& gradients,
                          std::span<GradientTree* const> collected = {}) override;
  void abandon() override;
  void begin_gather(std::span<float> values, const Shards& shards) override;
  void give(size_t band) override;
  void await(int64_t end) override;
  void gather_chunks(std::span<double> values, const Shards& shards) override;
  void add(std::span<int64_t> counts) override;

 private:
  using Ticket = Team::Ticket;
  struct Flow {
    std::vector<Band> bands;
    std::vector<Ticket> coming, going;  // by band; as they were begun
  };
  struct Reduction : Flow {
    const Shards* shards = nullptr;                // null: none is under way
    std::vector<std::vector<TreeNode>> nodes;      // by member
    std::vector<std::pair<size_t, size_t>> joins;  // how all members' nodes are added
    std::vector<int64_t> at;                       // by band: where it is in received_
    size_t unsent = 0;                             // bands [0, unsent) have not been sent
  };
  struct Gathering : Flow {
    std::span<float> values;  // empty: none is under way
    size_t awaited = 0;       // bands
    bool met = false;
  };

  float* received(size_t band, int member, size_t node);
  void send_band(size_t band, const std::vector<std::span<const float>>& nodes);
  void add_nodes(int64_t length, const std::vector<float*>& values, float* to) const;
  void add_band(size_t band, const std::vector<GradientTree::Part>& own, std::span<float> sum);
  void add_experts(const std::vector<GradientTree::Part>& own,
                   std::span<GradientTree* const> collected, std::span<float> sum);
  std::span<float> unused(size_t floats);

  Team& team_;
  Reduction reduction_;
  Gathering gathering_;
  Buffer<float> received_;
  std::unique_ptr<ZeroedFloats> spare_;  // the sum of a member without branches; what is abandoned
};

}  // namespace zeroth

// Learners that share a step: each differentiates a part of its samples and updates a part of the
// parameters, and all end with the same ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learn/gradient_tree.h"
#include "learn/shards.h"

namespace zeroth {

// Every member makes the same calls in the same order, but for those that say otherwise; a call may
// wait for the others where that is said. Results are the same bits on every member, for any number
// of members. Not thread safe.
//
// An update: begin_reduce(), contribute() while the last branch is differentiated, reduce(),
// gather_chunks(); then begin_gather(), give() while the shard is updated, await() where the others'
// parameters are needed.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;

  // The next sum over the branches of all members, which are neighbours in the order of ranks.
  // filled[branch]: whether it has a gradient, whoever adds it. The shards stay until the update is
  // over.
  virtual void begin_reduce(const std::vector<bool>& filled, const Shards& shards) = 0;
  // The gradient of the own branches from float `from` on is complete: it may be under way to others
  // when this returns, so it stays as it is. In a member's own time, any number of times.
  virtual void contribute(GradientTree& gradients, int64_t from) = 0;
  // The sum. Waits. Only the floats that this member needs (Shards::needed) are of use. `collected`,
  // where shards have experts: what this member's experts got by the branches of others, by rank
  // (its own: null).
  virtual std::span<float> reduce(GradientTree& gradients,
                                  std::span<GradientTree* const> collected = {}) = 0;
  // In place of reduce(), when members have not all added what they said: waits until nothing is
  // under way any more.
  virtual void abandon() = 0;

  // All get what every member gives of its shard. Until they are awaited, floats of others' shards
  // are not to be touched, and the own ones that were given stay as they are until await(kAll).
  virtual void begin_gather(std::span<float> values, const Shards& shards) = 0;
  // The own floats of band `band` (Shards::bands) are set. Bands ascend.
  virtual void give(size_t band) = 0;
  // Waits until all members' floats in front of `end` are here. Every band was given before. In a
  // member's own time, any number of times; kAll ends it. Without a gathering nothing happens.
  virtual void await(int64_t end) = 0;
  static constexpr int64_t kAll = INT64_MAX;
  // All of that at once.
  void gather(std::span<float> values, const Shards& shards) {
    begin_gather(values, shards);
    for (size_t b = 0; b < shards.bands(size()).size(); ++b) give(b);
    await(kAll);
  }

  // All get every chunk's number from the member that adds it. Waits.
  virtual void gather_chunks(std::span<double> values, const Shards& shards) = 0;
  // Replaces each count by its sum over members. Waits.
  virtual void add(std::span<int64_t> counts) = 0;
};

// One member: nothing to add, nobody to wait for.
class Alone : public Collective {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void begin_reduce(const std::vector<bool>&, const Shards&) override {}
  void contribute(GradientTree&, int64_t) override {}
  std::span<float> reduce(GradientTree& gradients, std::span<GradientTree* const>) override {
    return gradients.total();
  }
  void abandon() override {}
  void begin_gather(std::span<float>, const Shards&) override {}
  void give(size_t) override {}
  void await(int64_t) override {}
  void gather_chunks(std::span<double>, const Shards&) override {}
  void add(std::span<int64_t>) override {}
};

// The branches that member `rank` of `size` adds.
inline TreeNode own_branches(int branches, int rank, int size) {
  return {static_cast<int>(int64_t{branches} * rank / size),
          static_cast<int>(int64_t{branches} * (rank + 1) / size)};
}

}  // namespace zeroth

// Cuts a mini-batch of groups into leaves, deals them to forward calls of bounded size, and lays
// each call out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "policy/scoring.h"
#include "rollout/sampler.h"

namespace zeroth {

// Some samples of one group, by their places in it. A slice that is planned is a leaf: its gradient
// is summed by itself, a part of its call (policy/packing.h), whatever goes through the policy
// beside it.
struct GroupSlice {
  int32_t group = 0;  // index among the groups of the step
  std::vector<int32_t> samples;
};

// Neighbouring leaves, which one branch or one rank computes.
struct LeafShare {
  size_t begin = 0, end = 0;
};

// Slices that go through the policy in one call.
using SliceList = std::vector<GroupSlice>;

// Whether a sample takes part in the loss at all.
inline bool has_loss(const Sample& sample) { return !sample.masked && !sample.tokens.empty(); }

// What a call does with the routing that sampling recorded (RecordedRouting).
enum class RoutingUse { kNone, kCompare, kReplay };

// Cuts the groups whose indices `order` gives into leaves of at most `leaf_tokens` rows, but at
// least one sample. A leaf has a copy of its group's prompt. Every sample that has a loss is in
// exactly one. `replay`: samples of one leaf have the same routing of their prompt.
std::vector<GroupSlice> plan_leaves(std::span<const Group> groups, std::span<const int32_t> order,
                                    int64_t leaf_tokens, bool replay = false);
// Deals leaves to calls, in order: at most `max_tokens` rows each, but at least one leaf.
std::vector<SliceList> plan_calls(std::span<const Group> groups, std::span<const GroupSlice> leaves,
                                  int64_t max_tokens);

// One forward call with the loss tokens of its samples. Row r of the response block predicts
// target[r].
class MicroBatch {
 public:
  struct Row {
    int32_t group = 0, sample = 0;  // by index
    int64_t first = 0, count = 0;   // within the response block
  };

  // `top_k` experts a layer: of samples whose routing was recorded.
  explicit MicroBatch(int top_k = 1) : top_k_(top_k) {}

  // `tickets` [group][sample] may be empty. Samples without recorded routing are routed as they are
  // now, whatever the use.
  void build(std::span<const Group> groups, const SliceList& slices, double temperature,
             const Tickets& tickets = {}, RoutingUse use = RoutingUse::kNone);

  // Its kept sets point into the groups.
  const TargetBatch& targets() const { return batch_; }
  const PackedBatch& packed() const { return batch_.packed; }
  const std::vector<Row>& samples() const { return samples_; }  // in row order
  int64_t responses() const { return batch_.responses(); }
  // [rows] numbers of the rows in the activation store of sampling at that epoch; empty when one is
  // missing.
  std::span<const int32_t> activation_rows(int64_t epoch) const;

 private:
  TargetBatch batch_;
  std::vector<Row> samples_;
  std::vector<int32_t> activation_rows_;
  int64_t activation_epoch_ = 0;
  int top_k_ = 1;
  void lay_kept_sets(std::span<const Group> groups);
  void lay_routing(std::span<const Group> groups, const SliceList& slices,
                   const std::vector<int>& first_child);
  void find_activations(const SliceList& slices, const std::vector<int>& first_child,
                        const Tickets& tickets);
};

}  // namespace zeroth

// Which samples of a step go into which optimizer update, and how each update is cut into leaves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learn/gradient_tree.h"
#include "rl/loss_config.h"
#include "rl/micro_batch.h"
#include "rl/trainer_config.h"

namespace zeroth {

// One optimizer update.
struct MiniBatchPlan {
  std::vector<int32_t> groups;     // its groups, by index, as they were dealt
  std::vector<GroupSlice> leaves;  // of those with a signal; none: there is nothing to update from
};

struct UpdatePlan {
  int64_t step = 0;
  double step_tokens = 0;                   // of all groups, those that have a loss
  std::vector<MiniBatchPlan> mini_batches;  // of all epochs, in order
};

// Every epoch deals the groups to its mini-batches: in their order when there is one, else at random
// by (seed, step, epoch).
UpdatePlan plan_update(std::span<const Group> groups, const TrainerConfig& config,
                       const LossConfig& loss, uint64_t seed, int64_t step,
                       bool every_group = false);

// Tokens of the group that have a loss.
int64_t loss_tokens(const Group& group);

// The leaves of neighbouring branches, of `branches` and `leaves` in all. Depends on nothing else,
// so the gradient's sums do not depend on who computes them.
inline LeafShare leaves_of(TreeNode own, int branches, size_t leaves) {
  return {leaves * own.begin / branches, leaves * own.end / branches};
}

}  // namespace zeroth

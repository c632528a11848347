#include "rl/update_plan.h"

#include <numeric>
#include <utility>

#include "core/rng.h"

namespace zeroth {
namespace {

// Keeps these random blocks apart from the ones that sampling draws with the same seed.
constexpr uint32_t kShuffleStream = 0x73687566;

// Indices of `groups` groups. Fisher-Yates; the order is a function of (seed, step, epoch).
std::vector<int32_t> dealt(size_t groups, uint64_t seed, int64_t step, int epoch, bool shuffle) {
  std::vector<int32_t> order(groups);
  std::iota(order.begin(), order.end(), 0);
  if (!shuffle) return order;
  Rng rng(
      StreamKey{seed, static_cast<uint32_t>(step), static_cast<uint32_t>(epoch), kShuffleStream});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[rng.below(static_cast<uint32_t>(i))]);
  return order;
}

// A constant group moves the weights only through the KL or the entropy bonus.
bool has_signal(const Group& group, const LossConfig& loss) {
  return (!group.zero_variance || loss.beta > 0 || loss.wants_entropy()) && loss_tokens(group) > 0;
}

}  // namespace

int64_t loss_tokens(const Group& group) {
  int64_t tokens = 0;
  for (const Sample& sample : group.samples) {
    if (has_loss(sample)) tokens += drawn_tokens(sample);
  }
  return tokens;
}

UpdatePlan plan_update(std::span<const Group> groups, const TrainerConfig& config,
                       const LossConfig& loss, uint64_t seed, int64_t step, bool every_group) {
  UpdatePlan plan;
  plan.step = step;
  for (const Group& group : groups) plan.step_tokens += static_cast<double>(loss_tokens(group));
  for (int epoch = 0; epoch < config.inner_epochs; ++epoch) {
    const auto order = dealt(groups.size(), seed, step, epoch, config.mini_batches > 1);
    for (int part = 0; part < config.mini_batches; ++part) {
      const auto begin = order.begin() + order.size() * part / config.mini_batches;
      const auto end = order.begin() + order.size() * (part + 1) / config.mini_batches;
      MiniBatchPlan& batch = plan.mini_batches.emplace_back();
      batch.groups.assign(begin, end);
      std::vector<int32_t> informative;
      for (const int32_t g : batch.groups) {
        if (has_signal(groups[g], loss) || (every_group && loss_tokens(groups[g]) > 0))
          informative.push_back(g);
      }
      batch.leaves = plan_leaves(groups, informative, config.leaf_tokens, config.router_replay);
    }
  }
  return plan;
}

}  // namespace zeroth

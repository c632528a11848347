// AdamW over the flat parameters, global-norm clipping, learning-rate schedules.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "kernels/operators.h"
#include "learn/collective.h"
#include "learn/shards.h"
#include "model/buffer.h"
#include "model/parameters.h"

namespace zeroth {

struct OptimizerConfig {
  double lr = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-15;
  double weight_decay = 0;
  double max_grad_norm = 1;
  int64_t warmup_steps = 0;
  std::string schedule = "constant";
  double decay_from = 0;
  double min_lr_ratio = 0;

  template <class V>
  void fields(V& v) {
    v("lr", lr, "peak learning rate", Range{0, 1});
    v("beta1", beta1, "decay of the first moment", Range{0, 0.999999});
    v("beta2", beta2, "decay of the second moment", Range{0, 0.999999});
    v("eps", eps, "added to the root of the second moment", Range{0, 1});
    v("weight_decay", weight_decay, "decoupled weight decay of matrices", Range{0, 1});
    v("max_grad_norm", max_grad_norm, "gradients are scaled down to this global norm; 0 = never",
      Range{0, 1e9});
    v("warmup_steps", warmup_steps, "steps of linear warm-up from 0", Range{0, 1e9});
    v("schedule", schedule, "course of the learning rate after warm-up",
      Choice{{"constant", "linear", "cosine"}});
    v("decay_from", decay_from, "share of the steps after which linear and cosine decay begin",
      Range{0, 1});
    v("min_lr_ratio", min_lr_ratio, "where the decay ends, as a share of lr", Range{0, 1});
  }
};

// Learning rate of update `step` (from 0) of `total`: lr (step + 1) / warmup_steps while step <
// warmup_steps; then lr until max(warmup_steps, decay_from * total), then down to min_lr_ratio * lr
// at the last step.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total);

// Owns the moments. Not thread safe.
class AdamW {
 public:
  // Parameters that are not trainable keep their values. `ops` outlive it. Parameters, gradient and
  // moments are the host's: where operators cannot follow these, the CPU's make the update.
  // `experts`: those of Shards.
  AdamW(const Parameters& parameters, const OptimizerConfig& config,
        const kernels::Operators& ops = kernels::cpu_operators(),
        std::vector<FloatRanges> experts = {});

  // One update with learning rate `lr`. Returns the global norm of the trainable gradients before
  // clipping; when it is not finite nothing is changed. `grads` is laid out like the parameters.
  // As a member of a collective it needs the gradients of its shard and updates that: the same bits
  // as alone. The others' parameters are there when collective->await() says so; the caller awaits
  // all of them.
  double step(Parameters& parameters, std::span<const float> grads, double lr,
              Collective* collective = nullptr);

  int64_t steps() const { return steps_; }
  const Shards& shards() const { return shards_; }
  // For checkpoints: both moments, laid out like the parameters, and the number of updates made.
  // Those of frozen parameters and of other members' shards are zeros and take no memory.
  std::span<float> first_moment() { return m_.span(); }
  std::span<float> second_moment() { return v_.span(); }
  // Updates that the moments hold: those since the last reset().
  int64_t moment_steps() const { return moment_steps_; }
  void set_steps(int64_t steps, int64_t moment_steps) {
    steps_ = steps;
    moment_steps_ = moment_steps;
  }
  // Of the steps from now on: betas, eps, weight decay and the norm that gradients are cut to.
  void configure(const OptimizerConfig& config) { config_ = config; }
  // The moments are zero again, and warm up as at the start; steps() stays.
  void reset();
  // The moments will be used in part. Large pages, which others' floats share, would take memory
  // for whatever lies between the own ones.
  void use_small_pages();

 private:
  double squares_of(std::span<const float> grads, Collective& collective) const;
  void update_ranges(Parameters& parameters, std::span<const float> grads,
                     const FloatRanges& ranges, kernels::AdamWStep step);

  const kernels::Operators& ops_;
  OptimizerConfig config_;
  std::vector<ParameterBlock> blocks_;  // maximal runs of trainable ones that share the decay
  Shards shards_{{}};
  ZeroedFloats m_, v_;
  bool small_pages_ = false;
  int64_t steps_ = 0, moment_steps_ = 0;
};

}  // namespace zeroth

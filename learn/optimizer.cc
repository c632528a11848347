#include "learn/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/ops.h"

namespace zeroth {

double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total) {
  if (step < config.warmup_steps) {
    return config.lr * static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  if (config.schedule == "constant") return config.lr;
  const double begin = std::max(static_cast<double>(config.warmup_steps),
                                config.decay_from * static_cast<double>(total));
  const double last = static_cast<double>(total) - 1;
  if (static_cast<double>(step) <= begin || last <= begin) return config.lr;
  const double progress = std::min(1.0, (static_cast<double>(step) - begin) / (last - begin));
  const double fall =
      config.schedule == "linear" ? progress : 0.5 * (1 - std::cos(std::numbers::pi * progress));
  return config.lr * (1 - (1 - config.min_lr_ratio) * fall);
}

AdamW::AdamW(const Parameters& parameters, const OptimizerConfig& config)
    : config_(config), m_(parameters.values().size()), v_(parameters.values().size()) {
  bool joins = false;  // the tensor before went into the last block
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.trainable) {
      joins = false;
      continue;
    }
    // The padding between neighbours is zero and stays zero, so a block may cover it.
    if (joins && blocks_.back().decay == info.decay) {
      blocks_.back().end = info.offset + info.count;
    } else {
      blocks_.push_back({info.offset, info.offset + info.count, info.decay});
    }
    joins = true;
  }
}

double AdamW::step(Parameters& parameters, std::span<const float> grads, double lr) {
  double squares = 0;
  for (const Block& block : blocks_) {
    squares += kernels::sum_squares(grads.data() + block.begin, block.end - block.begin);
  }
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;

  kernels::AdamWStep update;
  update.lr = static_cast<float>(lr);
  update.beta1 = static_cast<float>(config_.beta1);
  update.beta2 = static_cast<float>(config_.beta2);
  update.eps = static_cast<float>(config_.eps);
  update.step = ++steps_;
  if (config_.max_grad_norm > 0 && norm > config_.max_grad_norm) {
    update.grad_scale = static_cast<float>(config_.max_grad_norm / norm);
  }
  float* w = parameters.values().data();
  for (const Block& block : blocks_) {
    update.weight_decay = block.decay ? static_cast<float>(config_.weight_decay) : 0;
    kernels::adamw(w + block.begin, grads.data() + block.begin, m_.span().data() + block.begin,
                   v_.span().data() + block.begin, block.end - block.begin, update);
  }
  return norm;
}

}  // namespace zeroth

#include "rollout/roofline.h"

#include <algorithm>
#include <cmath>

namespace zeroth {

Roofline::Roofline(const PolicyConfig& config, double weight_bytes) : weight_bytes_(weight_bytes) {
  active_ = static_cast<double>(count_parameters(config).active);
  moe_layers_ = config.moe_layers();
  experts_ = config.router.experts;
  top_k_ = config.router.top_k;
  expert_ = 3.0 * config.width * config.expert_width;
  resident_ = active_ - moe_layers_ * top_k_ * expert_;
  const double width = double{1} * config.k_dim() + config.v_dim();
  const int recurrent = config.recurrent_layers(), layers = config.layers - recurrent;
  attention_flops_ = 2.0 * layers * config.heads * width;
  cache_bytes_ = sizeof(float) * layers * static_cast<double>(config.cache_floats());
  // A token reads a state once for its key and once for its query; a sixteenth of a state is made.
  const double state = static_cast<double>(config.delta.state()) * recurrent;
  state_flops_ = 6 * state;
  state_bytes_ = sizeof(float) * state;
}

double Roofline::forward_flops(double context) const {
  return 2 * active_ + attention_flops_ * context + state_flops_;
}

double Roofline::experts_hit(double batch) const {
  if (experts_ == 0) return 0;
  return experts_ * (1 - std::pow(1 - top_k_ / experts_, batch));
}

double Roofline::decode_bytes(double batch, double context) const {
  const double weights = weight_bytes_ * (resident_ + moe_layers_ * experts_hit(batch) * expert_);
  return weights + batch * (context * cache_bytes_ + state_bytes_);
}

double Roofline::decode_limit(const MachineLimits& machine, double batch, double context) const {
  const double memory = decode_bytes(batch, context) / machine.weight_bytes_s;
  const double arithmetic = batch * forward_flops(context) / machine.flops;
  return batch / std::max(memory, arithmetic);
}

}  // namespace zeroth

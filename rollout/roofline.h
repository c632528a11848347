// What this machine could do at best with a policy: the limits printed beside measured speeds.
#pragma once

#include <cstdint>

#include "model/config.h"

namespace zeroth {

// Measured on the machine in the same run (kernels/limits.h).
struct MachineLimits {
  double flops = 0;           // peak of float32 matrix products on all threads, FLOP/s
  double weight_bytes_s = 0;  // read bandwidth of the level that holds what a step reads
};

// Arithmetic and traffic of a policy, after the roofline model (Williams, Waterman and Patterson,
// "Roofline", CACM 52(4), 2009). A multiply-add counts as two operations.
class Roofline {
 public:
  // `weight_bytes`: of a published weight (2 as bfloat16). The cache is float32.
  explicit Roofline(const PolicyConfig& config, double weight_bytes = sizeof(float));

  // Operations of the forward pass of one token that sees `context` positions: 2 N_active plus
  // attention.
  double forward_flops(double context) const;
  // Forward and backward: three times that (Kaplan et al., "Scaling laws for neural language
  // models", 2020, section 2.1). Recomputation does not count (MFU, not HFU).
  double train_flops(double context) const { return 3 * forward_flops(context); }

  // Experts of a layer that a batch reaches when routing is uniform: E (1 - (1 - k/E)^batch).
  double experts_hit(double batch) const;
  // Bytes that a decode step of `batch` sequences must read: the weights once (of experts those
  // that are hit) and every sequence's keys and values.
  double decode_bytes(double batch, double context) const;
  // Tokens per second that no decoder on this machine can exceed.
  double decode_limit(const MachineLimits& machine, double batch, double context) const;

 private:
  double weight_bytes_ = 0;
  double active_ = 0;    // parameters one token meets, the input table left out
  double resident_ = 0;  // of them, those that do not belong to routed experts
  double expert_ = 0;    // parameters of one routed expert
  double moe_layers_ = 0, experts_ = 0, top_k_ = 0;
  double attention_flops_ = 0;                // per token and position
  double cache_bytes_ = 0;                    // per position of a sequence
  double state_flops_ = 0, state_bytes_ = 0;  // of gated delta nets, per token
};

}  // namespace zeroth

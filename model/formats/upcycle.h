// Sparse upcycling: a dense checkpoint as a mixture of experts that computes the same function
// (Komatsuzaki et al., "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints",
// 2023).
#pragma once

#include <cstdint>

#include "model/formats/checkpoint.h"

namespace zeroth {

struct UpcycleOptions {
  int experts = 4;
  int top_k = 1;
  // Standard deviation of normal noise on the experts' matrices, relative to each matrix's own; 0:
  // exact copies, which training pulls apart because each meets other tokens.
  double noise = 0;
  // Standard deviation of the router's weights. 0: every token goes to the first experts.
  double router_std = 0.02;
  uint64_t seed = 0;  // names noise and router
};

// Llama becomes Mixtral, Qwen2 Qwen2-MoE (whose shared expert starts as zero), Qwen3 Qwen3-MoE.
// Every expert is a copy of the layer's feed-forward block, and the chosen weights are divided by
// their sum, so without noise the outputs are those of the dense model: bit for bit for top_k = 1,
// up to the rounding of the weighted sum above. Throws a usage Error for a model that is no such
// family or has a feature that the sparse one lacks (biases, some sliding windows), and for top_k >
// experts.
ModelValues upcycle(const ModelValues& dense, const UpcycleOptions& options);

}  // namespace zeroth

// Inside of policy/: a layer's experts where no rank has them all (policy/expert_exchange.h).
#pragma once

#include "policy/decoder.h"

namespace zeroth {

// out [m * top_k, width]: what the experts return for rows of that many choices, sorted by expert.
void distant_forward(const Pass& pass, int layer, const LayerState& state, At<const float> rows,
                     At<float> out);

struct DistantGradient {
  At<const float> normed, dout;  // [m, width] inputs of the experts, gradients of their sums
  View<const int64_t> parts;     // of the choices
};
// dx [m * top_k, width] (=) sorted by expert, dweights [m, top_k] (=).
void distant_backward(const Pass& pass, int layer, const LayerState& state,
                      const DistantGradient& from, At<float> dweights, At<float> dx);

}  // namespace zeroth

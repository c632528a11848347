#include "policy/distant_experts.h"

#include <vector>

namespace zeroth {

using namespace kernels;

void distant_forward(const Pass& pass, int layer, const LayerState& state, At<const float> rows,
                     At<float> out) {
  const Device& device = pass.ops.device();
  const PolicyConfig& c = pass.config;
  const int64_t floats = pass.rows * c.router.top_k * c.width;
  const OnHost<int64_t> offsets(device, state.offsets.data(), c.router.experts + 1);
  const OnHost<float> values(device, rows, floats);
  const FromHost<float> to(device, out, floats);
  pass.model.exchange->forward(pass.model.place, {layer, offsets.values(), values.values()},
                               to.values());
  to.done();
}

void distant_backward(const Pass& pass, int layer, const LayerState& state,
                      const DistantGradient& from, At<float> dweights, At<float> dx) {
  const Device& device = pass.ops.device();
  const PolicyConfig& c = pass.config;
  const int64_t choices = pass.rows * c.router.top_k, floats = choices * c.width;
  const View<const int32_t> order{state.order.data(), static_cast<size_t>(choices)};
  // Gathered one after the other in the room of dx.
  const auto gathered = [&](At<const float> rows) {
    pass.ops.gather_rows(rows, c.width, order, c.router.top_k, dx, c.width);
    std::vector<float> copy(static_cast<size_t>(floats));
    copy_out(device, copy.data(), dx, floats);
    return copy;
  };
  const std::vector<float> rows = gathered(from.normed), dout = gathered(from.dout);
  const OnHost<int64_t> offsets(device, state.offsets.data(), c.router.experts + 1);
  const OnHost<int64_t> parts(device, from.parts.data(), static_cast<int64_t>(from.parts.size()));
  const OnHost<int32_t> places(device, order.data(), choices);
  const OnHost<float> by_choice(device, state.expert_weights.data(), choices);
  std::vector<float> weights(static_cast<size_t>(choices)), sorted(weights.size());
  for (int64_t i = 0; i < choices; ++i) weights[i] = by_choice[places[i]];
  const FromHost<float> to(device, dx, floats), by_place(device, dweights, choices);
  pass.model.exchange->backward(pass.model.place,
                                {{layer, offsets.values(), rows}, dout, weights, parts.values()},
                                pass.grads, to.values(), sorted);
  to.done();
  for (int64_t i = 0; i < choices; ++i) by_place.values()[places[i]] = sorted[i];
  by_place.done();
}

}  // namespace zeroth

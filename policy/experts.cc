#include "policy/experts.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"

namespace zeroth {

using namespace kernels;

namespace {

PackedMatrices matrices(const std::vector<const PackedMatrix*>& of, int first, size_t count) {
  return PackedMatrices(of).subspan(first, count);
}

ExpertRun run_of(const Weights& weights, const ExpertRows& rows, View<const int64_t> offsets) {
  const WeightsImpl& impl = weights.impl();
  const Architecture& a = *impl.architecture;
  const ExpertExchange& exchange = *a.experts.exchange;
  const int experts = a.config.router.experts;
  const int first = exchange.begin_of(experts, exchange.rank());
  const int count = exchange.end_of(experts, exchange.rank()) - first;
  const bool sparse =
      rows.layer >= 0 && rows.layer < a.config.layers && a.config.sparse[rows.layer];
  if (!sparse || static_cast<int>(rows.offsets.size()) != count + 1 ||
      !std::is_sorted(rows.offsets.begin(), rows.offsets.end()) || rows.offsets.front() != 0 ||
      rows.offsets.back() * a.config.width != static_cast<int64_t>(rows.rows.size())) {
    fail("a rank asks for other experts than there are in layer " + std::to_string(rows.layer));
  }
  return {a.ops,
          a.config,
          a.layout.layers[rows.layer],
          impl.model.layers[rows.layer],
          first,
          rows.offsets.back(),
          offsets};
}

// Where operators write what goes to the host.
At<float> room_for(const Device& device, Array<float>& array, std::span<float> out) {
  if (device.in_host_memory()) return out.data();
  array.on(device);
  return array.get(static_cast<int64_t>(out.size()));
}
void to_host(const Device& device, At<const float> from, std::span<float> out) {
  if (!device.in_host_memory())
    copy_out(device, out.data(), from, static_cast<int64_t>(out.size()));
}

}  // namespace

void ExpertRun::gate_up(At<const float> rows, At<float> gate_up) const {
  const int64_t wide = 2 * int64_t{config.expert_width};
  ops.grouped_linear(rows, config.width, offsets,
                     matrices(layer.expert_gate_up, first, offsets.size() - 1), gate_up, wide);
  if (!config.expert_bias) return;
  ops.add_group_bias(gate_up, wide, offsets, layer.expert_gate_up_bias.data() + first * wide, wide);
}

void ExpertRun::down(At<const float> gate_up, At<float> act, At<float> out) const {
  const int64_t width = config.expert_width, hidden = config.width;
  ops.swiglu(gate_up, 2 * width, act, width, n, width, config.gate);
  ops.grouped_linear(act, width, offsets, matrices(layer.expert_down, first, offsets.size() - 1),
                     out, hidden);
  if (!config.expert_bias) return;
  ops.add_group_bias(out, hidden, offsets, layer.expert_down_bias.data() + first * hidden, hidden);
}

void ExpertRun::down_backward(At<const float> dout, At<const float> gate_up, At<float> act,
                              At<float> dact, At<float> dgate_up, const DeviceWeights& weights,
                              At<float> grads, View<const int64_t> parts) const {
  const int64_t width = config.expert_width, hidden = config.width;
  std::vector<At<float>> dweight;
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    dweight.push_back(grads + layout.experts[first + e].down.weight);
  ops.grouped_backward_input(dout, hidden, offsets,
                             matrices(layer.expert_down, first, offsets.size() - 1), dact, width);
  ops.swiglu_backward(dact, width, gate_up, 2 * width, dgate_up, 2 * width, n, width, act, weights,
                      config.gate);
  ops.grouped_backward_weight(dout, hidden, act, width, offsets, dweight, hidden, width, parts);
  if (!config.expert_bias) return;
  ops.group_bias_backward(dout, hidden, offsets, layer.expert_down_bias.data() + first * hidden,
                          grads + layout.expert_down_bias + first * hidden, hidden, weights, parts);
}

void ExpertRun::gate_up_backward(At<const float> rows, At<const float> dgate_up, At<float> dx,
                                 At<float> grads, View<const int64_t> parts) const {
  const int64_t wide = 2 * int64_t{config.expert_width}, hidden = config.width;
  std::vector<At<float>> dweight;
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    dweight.push_back(grads + layout.experts[first + e].gate_up.weight);
  if (config.expert_bias) {
    ops.group_bias_backward(dgate_up, wide, offsets,
                            layer.expert_gate_up_bias.data() + first * wide,
                            grads + layout.expert_gate_up_bias + first * wide, wide, {}, parts);
  }
  ops.grouped_backward_weight(dgate_up, wide, rows, hidden, offsets, dweight, wide, hidden, parts);
  ops.grouped_backward_input(dgate_up, wide, offsets,
                             matrices(layer.expert_gate_up, first, offsets.size() - 1), dx, hidden);
}

void ExpertServer::forward(const Weights& weights, const ExpertRows& rows, std::span<float> out) {
  const Device& device = weights.operators().device();
  const ExpertRun run = run_of(weights, rows, offsets_.put(device, rows.offsets));
  if (run.n == 0) return;
  const int64_t width = run.config.expert_width;
  for (Array<float>* array : {&gate_up_, &act_}) array->on(device);
  const At<float> gate_up = gate_up_.get(run.n * 2 * width);
  const At<float> to = room_for(device, out_, out);
  run.gate_up(rows_.put(device, rows.rows).data(), gate_up);
  run.down(gate_up, act_.get(run.n * width), to);
  to_host(device, to, out);
}

void ExpertServer::backward(const Weights& weights, const ExpertGradientRows& rows, At<float> grads,
                            std::span<float> dx, std::span<float> dweights) {
  const Device& device = weights.operators().device();
  const ExpertRun run = run_of(weights, rows, offsets_.put(device, rows.offsets));
  if (run.n == 0) return;
  const int64_t width = run.config.expert_width;
  for (Array<float>* array : {&gate_up_, &act_, &dact_, &dgate_up_}) array->on(device);
  const At<float> gate_up = gate_up_.get(run.n * 2 * width);
  const At<float> dgate_up = dgate_up_.get(run.n * 2 * width);
  const At<const float> x = rows_.put(device, rows.rows).data();
  const View<const int64_t> parts = parts_.put(device, rows.parts);
  const At<float> to = room_for(device, out_, dx);
  const At<float> by_row = room_for(device, dweights_, dweights);
  run.gate_up(x, gate_up);
  run.down_backward(dout_.put(device, rows.dout).data(), gate_up, act_.get(run.n * width),
                    dact_.get(run.n * width), dgate_up,
                    {{}, weights_.put(device, rows.weights).data(), by_row}, grads, parts);
  run.gate_up_backward(x, dgate_up, to, grads, parts);
  to_host(device, to, dx);
  to_host(device, by_row, dweights);
}

}  // namespace zeroth

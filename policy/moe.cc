// Mixture of experts: router, chosen experts, shared experts.
#include <algorithm>

#include "policy/decoder.h"

namespace zeroth {
namespace {

using namespace kernels;

// A shared expert behind a sigmoid gate is the choice of one expert out of one.
RouterConfig one_of_one() {
  RouterConfig config;
  config.experts = config.top_k = 1;
  config.sigmoid = true;
  return config;
}

// identity[i] = i: the "order" of rows that are not sorted.
const int32_t* identity(Ints& ids, int64_t m) {
  int32_t* out = ids.get(m);
  for (int64_t i = 0; i < m; ++i) out[i] = static_cast<int32_t>(i);
  return out;
}

void experts_forward(const Pass& pass, int layer, const float* normed, LayerState& state,
                     float* out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, k = c.router.top_k, choices = m * k, width = c.expert_width;
  Scratch& s = pass.scratch;
  pass.ops.expert_sort(state.expert_ids.data(), m, c.router.top_k, c.router.experts, state.offsets,
                       state.order);
  float* gathered = s.gathered.get(choices * c.width);
  float* gate_up = state.gate_up.get(choices * 2 * width);
  float* act = s.act.get(choices * width);
  float* mlp_out = s.mlp_out.get(choices * c.width);
  pass.ops.gather_rows(normed, c.width, state.order, c.router.top_k, gathered, c.width);
  pass.ops.grouped_linear(gathered, c.width, state.offsets, l.expert_gate_up, gate_up, 2 * width);
  pass.ops.swiglu(gate_up, 2 * width, act, width, choices, width);
  pass.ops.grouped_linear(act, width, state.offsets, l.expert_down, mlp_out, c.width);
  pass.ops.combine(mlp_out, state.order, state.expert_weights.data(), c.router.top_k, out, c.width,
                   m, c.width);
}

void shared_forward(const Pass& pass, int layer, const float* normed, LayerState& state,
                    float* out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  float* mlp_out = s.mlp_out.get(m * c.width);
  mlp_forward(pass, l.shared, normed, state.shared_gate_up.get(m * 2 * c.shared_width), mlp_out);
  if (c.shared_gate) {
    float* logits = s.router_logits.get(m);
    float* scale = state.shared_scale.get(m);
    l.shared_gate(pass.ops, normed, c.width, logits, 1, m);
    pass.ops.route(logits, nullptr, one_of_one(), s.ids.get(m), scale, state.shared_score.get(m),
                   m);
    float* scaled = s.gathered.get(m * c.width);
    pass.ops.combine(mlp_out, {identity(s.ids, m), static_cast<size_t>(m)}, scale, 1, scaled,
                     c.width, m, c.width);
    mlp_out = scaled;
  }
  pass.ops.add(out, mlp_out, out, m * c.width);
}

// Where parts begin among the choices sorted by expert, which are in the order of their rows within
// an expert. Valid until the thread's next call.
RowParts choice_parts(const Pass& pass, const LayerState& state) {
  thread_local std::vector<int64_t> begins;
  begins.clear();
  const RowParts parts = pass.batch.parts;
  if (parts.size() < 2) return begins;
  const int64_t k = pass.config.router.top_k;
  for (size_t e = 0; e + 1 < state.offsets.size(); ++e) {
    auto at = state.order.begin() + state.offsets[e];
    const auto end = state.order.begin() + state.offsets[e + 1];
    for (size_t p = 1; p < parts.size() && at != end; ++p) {
      at = std::lower_bound(at, end, parts[p] * k);
      const int64_t begin = at - state.order.begin();
      if (at != end && (begins.empty() || begins.back() != begin)) begins.push_back(begin);
    }
  }
  return begins;
}

// dnormed (=) and the expert weights' gradients; dweights [m, k] (=).
void experts_backward(const Pass& pass, int layer, const float* normed, LayerState& state,
                      const float* dout, float* dweights, float* dnormed) {
  const PolicyConfig& c = pass.config;
  const LayerLayout& layout = pass.layout.layers[layer];
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, k = c.router.top_k, choices = m * k, width = c.expert_width;
  Scratch& s = pass.scratch;
  std::vector<float*> dgate_up_weight, ddown_weight;
  for (const GatedMlp& expert : layout.experts) {
    dgate_up_weight.push_back(pass.grads + expert.gate_up.weight);
    ddown_weight.push_back(pass.grads + expert.down.weight);
  }
  const float* gate_up = state.gate_up.data();
  // One buffer in three roles: gathered output gradients, then gathered inputs, then their
  // gradients.
  float* gathered = s.gathered.get(choices * c.width);
  float* act = s.act.get(choices * width);
  float* dact = s.dact.get(choices * width);
  float* dgate_up = s.dgate_up.get(choices * 2 * width);

  const RowParts parts = choice_parts(pass, state);
  pass.ops.gather_rows(dout, c.width, state.order, c.router.top_k, gathered, c.width);
  pass.ops.grouped_backward_input(gathered, c.width, state.offsets, l.expert_down, dact, width);
  pass.ops.swiglu_backward(dact, width, gate_up, 2 * width, dgate_up, 2 * width, choices, width,
                           act, {state.order.data(), state.expert_weights.data(), dweights});
  pass.ops.grouped_backward_weight(gathered, c.width, act, width, state.offsets, ddown_weight,
                                   c.width, width, parts);

  pass.ops.gather_rows(normed, c.width, state.order, c.router.top_k, gathered, c.width);
  pass.ops.grouped_backward_weight(dgate_up, 2 * width, gathered, c.width, state.offsets,
                                   dgate_up_weight, 2 * width, c.width, parts);
  pass.ops.grouped_backward_input(dgate_up, 2 * width, state.offsets, l.expert_gate_up, gathered,
                                  c.width);
  pass.ops.gather_rows_backward(gathered, state.order, c.router.top_k, dnormed, c.width, m, c.width,
                                false);
}

void shared_backward(const Pass& pass, int layer, const float* normed, LayerState& state,
                     const float* dout, float* dnormed) {
  const PolicyConfig& c = pass.config;
  const LayerLayout& layout = pass.layout.layers[layer];
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  if (!c.shared_gate) {
    mlp_backward(pass, layout.shared, l.shared, normed, state.shared_gate_up.data(), dout, nullptr,
                 nullptr, dnormed, true);
    return;
  }
  float* dscale = s.dweights.get(m);
  mlp_backward(pass, layout.shared, l.shared, normed, state.shared_gate_up.data(), dout,
               state.shared_scale.data(), dscale, dnormed, true);
  int32_t* zeros = s.ids.get(m);
  std::fill(zeros, zeros + m, 0);
  float* dlogits = s.dlogits.get(m);
  pass.ops.route_backward(dscale, zeros, state.shared_scale.data(), state.shared_score.data(),
                          one_of_one(), dlogits, m);
  linear_backward(pass, layout.shared_gate, l.shared_gate, dlogits, 1, normed, c.width, dnormed,
                  c.width, true);
}

}  // namespace

void moe_forward(const Pass& pass, int layer, const float* normed, LayerState& state, float* out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, experts = c.router.experts;
  float* logits = pass.scratch.router_logits.get(m * experts);
  l.router(pass.ops, normed, c.width, logits, experts, m);
  pass.ops.route(logits, c.selection_bias ? l.selection_bias.data() : nullptr, c.router,
                 state.expert_ids.get(m * c.router.top_k),
                 state.expert_weights.get(m * c.router.top_k), state.scores.get(m * experts), m);
  experts_forward(pass, layer, normed, state, out);
  if (c.shared_width > 0) shared_forward(pass, layer, normed, state, out);
}

void moe_backward(const Pass& pass, int layer, const float* normed, LayerState& state,
                  const float* dout, float* dnormed, const float* aux) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  float* dweights = s.dweights.get(m * c.router.top_k);
  experts_backward(pass, layer, normed, state, dout, dweights, dnormed);
  float* dlogits = s.dlogits.get(m * c.router.experts);
  pass.ops.route_backward(dweights, state.expert_ids.data(), state.expert_weights.data(),
                          state.scores.data(), c.router, dlogits, m);
  if (aux) {
    const int64_t experts = c.router.experts;
    for_parts(pass.batch, [&](int64_t part, int64_t begin, int64_t end) {
      pass.ops.balance_backward(c.router, state.scores.data() + begin * experts,
                                aux + part * experts, dlogits + begin * experts, end - begin);
    });
  }
  linear_backward(pass, pass.layout.layers[layer].router, pass.model.layers[layer].router, dlogits,
                  c.router.experts, normed, c.width, dnormed, c.width, true);
  if (c.shared_width > 0) shared_backward(pass, layer, normed, state, dout, dnormed);
}

}  // namespace zeroth

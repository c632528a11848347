// Mixture of experts: router, chosen experts, shared experts.
#include <algorithm>

#include "policy/decoder.h"
#include "policy/distant_experts.h"
#include "policy/experts.h"

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

// The choices of all rows, sorted by expert.
View<const int32_t> order_of(const Pass& pass, const LayerState& state) {
  return {state.order.data(), static_cast<size_t>(pass.rows * pass.config.router.top_k)};
}
View<const int64_t> offsets_of(const Pass& pass, const LayerState& state) {
  return {state.offsets.data(), static_cast<size_t>(pass.config.router.experts) + 1};
}

ExpertRun run_of(const Pass& pass, int layer, const LayerState& state) {
  return {pass.ops,
          pass.config,
          pass.layout.layers[layer],
          pass.model.layers[layer],
          0,
          pass.rows * pass.config.router.top_k,
          offsets_of(pass, state)};
}

void experts_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                     At<float> out) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows, k = c.router.top_k, choices = m * k, width = c.expert_width;
  Scratch& s = pass.scratch;
  sort_choices(pass, state);
  const View<const int32_t> order = order_of(pass, state);
  At<float> gathered = s.gathered.get(choices * c.width);
  At<float> mlp_out = s.mlp_out.get(choices * c.width);
  pass.ops.gather_rows(normed, c.width, order, c.router.top_k, gathered, c.width);
  if (pass.model.exchange) {
    distant_forward(pass, layer, state, gathered, mlp_out);
  } else {
    const ExpertRun run = run_of(pass, layer, state);
    At<float> gate_up = state.gate_up.get(choices * 2 * width);
    run.gate_up(gathered, gate_up);
    run.down(gate_up, s.act.get(choices * width), mlp_out);
  }
  pass.ops.combine(mlp_out, order, state.expert_weights.data(), c.router.top_k, out, c.width, m,
                   c.width);
}

void shared_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                    At<float> out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  At<float> mlp_out = s.mlp_out.get(m * c.width);
  mlp_forward(pass, l.shared, normed, state.shared_gate_up.get(m * 2 * c.shared_width), mlp_out);
  if (c.shared_gate) {
    At<float> logits = s.router_logits.get(m);
    At<float> scale = state.shared_scale.get(m);
    l.shared_gate(pass.ops, normed, c.width, logits, 1, m);
    pass.ops.route(logits, nullptr, one_of_one(), s.ids.get(m), scale, state.shared_score.get(m),
                   m);
    const At<int32_t> rows = s.ids.get(m);  // in their own order
    pass.ops.count_up(rows, m, 1);
    At<float> scaled = s.gathered.get(m * c.width);
    pass.ops.combine(mlp_out, {rows, static_cast<size_t>(m)}, scale, 1, scaled, c.width, m,
                     c.width);
    mlp_out = scaled;
  }
  pass.ops.add(out, mlp_out, out, m * c.width);
}

// Where parts begin among the choices sorted by expert; in the scratch of the call.
View<const int64_t> choice_parts(const Pass& pass, const LayerState& state) {
  const RowParts parts = pass.batch.parts;
  if (parts.size() < 2) return {};
  const size_t n = static_cast<size_t>(pass.config.router.experts) * parts.size();
  const At<int64_t> begins = pass.scratch.choice_parts.get(static_cast<int64_t>(n));
  pass.ops.choice_parts(offsets_of(pass, state), order_of(pass, state), pass.config.router.top_k,
                        parts, begins);
  return {begins, n};
}

// dnormed (=) and the expert weights' gradients; dweights [m, k] (=).
void experts_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                      At<const float> dout, At<float> dweights, At<float> dnormed) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows, k = c.router.top_k, choices = m * k, width = c.expert_width;
  Scratch& s = pass.scratch;
  const View<const int32_t> order = order_of(pass, state);
  const View<const int64_t> parts = choice_parts(pass, state);
  At<float> gathered = s.gathered.get(choices * c.width);
  if (pass.model.exchange) {
    distant_backward(pass, layer, state, {normed, dout, parts}, dweights, gathered);
  } else {
    // One buffer in three roles: gathered output gradients, then gathered inputs, then their
    // gradients.
    const ExpertRun run = run_of(pass, layer, state);
    At<float> dgate_up = s.dgate_up.get(choices * 2 * width);
    pass.ops.gather_rows(dout, c.width, order, c.router.top_k, gathered, c.width);
    run.down_backward(gathered, state.gate_up.data(), s.act.get(choices * width),
                      s.dact.get(choices * width), dgate_up,
                      {order.data(), state.expert_weights.data(), dweights}, pass.grads, parts);
    pass.ops.gather_rows(normed, c.width, order, c.router.top_k, gathered, c.width);
    run.gate_up_backward(gathered, dgate_up, gathered, pass.grads, parts);
  }
  pass.ops.gather_rows_backward(gathered, order, c.router.top_k, dnormed, c.width, m, c.width,
                                false);
}

void shared_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                     At<const float> dout, At<float> dnormed) {
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
  At<float> dscale = s.dweights.get(m);
  mlp_backward(pass, layout.shared, l.shared, normed, state.shared_gate_up.data(), dout,
               state.shared_scale.data(), dscale, dnormed, true);
  const At<int32_t> zeros = s.ids.get(m);
  pass.ops.count_up(zeros, m, 0);
  At<float> dlogits = s.dlogits.get(m);
  pass.ops.route_backward(dscale, zeros, state.shared_scale.data(), state.shared_score.data(),
                          one_of_one(), dlogits, m);
  linear_backward(pass, layout.shared_gate, l.shared_gate, dlogits, 1, normed, c.width, dnormed,
                  c.width, true);
}

}  // namespace

void sort_choices(const Pass& pass, LayerState& state) {
  const RouterConfig& r = pass.config.router;
  pass.ops.expert_sort(state.expert_ids.data(), pass.rows, r.top_k, r.experts,
                       state.offsets.get(r.experts + 1), state.order.get(pass.rows * r.top_k));
}

void moe_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                 At<float> out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, experts = c.router.experts;
  At<float> logits = pass.scratch.router_logits.get(m * experts);
  l.router(pass.ops, normed, c.width, logits, experts, m);
  pass.ops.route(logits, c.selection_bias ? l.selection_bias.data() : At<const float>(), c.router,
                 state.expert_ids.get(m * c.router.top_k),
                 state.expert_weights.get(m * c.router.top_k), state.scores.get(m * experts), m);
  if (!pass.batch.recorded.experts.empty()) recall_routing(pass, layer, state);
  experts_forward(pass, layer, normed, state, out);
  if (c.shared_width > 0) shared_forward(pass, layer, normed, state, out);
}

void moe_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                  At<const float> dout, At<float> dnormed, const float* aux) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  At<float> dweights = s.dweights.get(m * c.router.top_k);
  experts_backward(pass, layer, normed, state, dout, dweights, dnormed);
  At<float> dlogits = s.dlogits.get(m * c.router.experts);
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

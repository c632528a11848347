#include <algorithm>

#include "policy/decoder.h"

namespace zeroth {

using namespace kernels;

void Linear::operator()(const float* x, int64_t ldx, float* y, int64_t ldy, int64_t m) const {
  linear(x, ldx, weight, bias.empty() ? nullptr : bias.data(), y, ldy, m);
}

int64_t LayerState::bytes() const {
  int64_t n = 0;
  for (const Floats* b : {&inv_input, &inv_post, &x_mid, &qkv, &inv_qk, &q_latent, &kv_latent,
                          &inv_latent, &q, &attention, &lse, &gate_up, &scores, &expert_weights,
                          &shared_gate_up, &shared_score, &shared_scale}) {
    n += b->bytes();
  }
  return n + expert_ids.bytes() + static_cast<int64_t>(offsets.capacity() * sizeof(int64_t)) +
         static_cast<int64_t>(order.capacity() * sizeof(int32_t));
}

void mlp_forward(const Pass& pass, const PublishedMlp& mlp, const float* normed, float* gate_up,
                 float* out) {
  const int64_t m = pass.rows, hidden = pass.config.width, width = mlp.down.weight.in();
  mlp.gate_up(normed, hidden, gate_up, 2 * width, m);
  float* act = pass.scratch.act.get(m * width);
  swiglu(gate_up, 2 * width, act, width, m, width);
  mlp.down(act, width, out, hidden, m);
}

void layer_forward(const Pass& pass, int layer, const float* x_in, LayerState& state,
                   float* x_out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, width = c.width;
  float* normed = pass.scratch.normed.get(m * width);
  float* out = pass.scratch.out.get(m * width);

  rms_norm(x_in, width, l.input_norm.data(), c.norm_eps, normed, width, state.inv_input.get(m), m,
           width);
  if (c.is_latent()) {
    latent_attention_forward(pass, layer, normed, state, out);
  } else {
    attention_forward(pass, layer, normed, state, out);
  }
  float* x_mid = state.x_mid.get(m * width);
  add(x_in, out, x_mid, m * width);

  rms_norm(x_mid, width, l.post_norm.data(), c.norm_eps, normed, width, state.inv_post.get(m), m,
           width);
  if (c.sparse[layer]) {
    moe_forward(pass, layer, normed, state, out);
  } else {
    mlp_forward(pass, l.mlp, normed, state.gate_up.get(m * 2 * c.mlp_width), out);
  }
  add(x_mid, out, x_out, m * width);
}

}  // namespace zeroth

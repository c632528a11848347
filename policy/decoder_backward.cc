#include <algorithm>

#include "policy/decoder.h"

namespace zeroth {

using namespace kernels;

void linear_backward(const Pass& pass, const Matrix& matrix, const Linear& linear, const float* dy,
                     int64_t lddy, const float* x, int64_t ldx, float* dx, int64_t lddx,
                     bool accumulate) {
  float* dbias = matrix.bias >= 0 ? pass.grads + matrix.bias : nullptr;
  linear_backward_weight(dy, lddy, x, ldx, pass.grads + matrix.weight, matrix.in, dbias, pass.rows,
                         matrix.out, matrix.in, pass.batch.parts);
  if (!dx) return;
  linear_backward_input(dy, lddy, linear.weight, dx, lddx, pass.rows, accumulate);
}

void mlp_backward(const Pass& pass, const GatedMlp& mlp, const PublishedMlp& published,
                  const float* normed, const float* gate_up, const float* dout,
                  const float* row_weights, float* dweights, float* dnormed, bool accumulate) {
  const int64_t m = pass.rows, hidden = pass.config.width, width = mlp.width();
  Scratch& s = pass.scratch;
  float* act = s.act.get(m * width);
  float* dact = s.dact.get(m * width);
  float* dgate_up = s.dgate_up.get(m * 2 * width);
  linear_backward_input(dout, hidden, published.down.weight, dact, width, m, false);
  swiglu_backward(dact, width, gate_up, 2 * width, dgate_up, 2 * width, m, width, act,
                  {nullptr, row_weights, dweights});
  linear_backward(pass, mlp.down, published.down, dout, hidden, act, width, nullptr, 0, false);
  linear_backward(pass, mlp.gate_up, published.gate_up, dgate_up, 2 * width, normed, hidden,
                  dnormed, hidden, accumulate);
}

void layer_backward(const Pass& pass, int layer, const float* x_in, LayerState& state, float* dx,
                    const float* aux) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const LayerLayout& layout = pass.layout.layers[layer];
  const int64_t m = pass.rows, width = c.width;
  Scratch& s = pass.scratch;
  // Norms are cheap: recomputing them gives the same bits and saves two [m, width] a layer.
  float* normed = s.normed.get(m * width);
  float* dnormed = s.dnormed.get(m * width);

  rms_norm(state.x_mid.data(), width, l.post_norm.data(), c.norm_eps, normed, width, nullptr, m,
           width);
  if (c.sparse[layer]) {
    moe_backward(pass, layer, normed, state, dx, dnormed, aux);
  } else {
    mlp_backward(pass, layout.mlp, l.mlp, normed, state.gate_up.data(), dx, nullptr, nullptr,
                 dnormed, false);
  }
  rms_norm_backward(dnormed, width, state.x_mid.data(), width, l.post_norm.data(),
                    state.inv_post.data(), dx, width, pass.grads + layout.post_norm, m, width, true,
                    1, pass.batch.parts);

  rms_norm(x_in, width, l.input_norm.data(), c.norm_eps, normed, width, nullptr, m, width);
  if (c.is_latent()) {
    latent_attention_backward(pass, layer, normed, state, dx, dnormed);
  } else {
    attention_backward(pass, layer, normed, state, dx, dnormed);
  }
  rms_norm_backward(dnormed, width, x_in, width, l.input_norm.data(), state.inv_input.data(), dx,
                    width, pass.grads + layout.input_norm, m, width, true, 1, pass.batch.parts);
}

}  // namespace zeroth

#include <algorithm>

#include "policy/decoder.h"

namespace zeroth {

using namespace kernels;

void linear_backward(const Pass& pass, const Matrix& matrix, const Linear& linear, const float* dy,
                     int64_t lddy, const float* x, int64_t ldx, float* dx, int64_t lddx,
                     bool accumulate) {
  float* dbias = matrix.bias >= 0 ? pass.grads + matrix.bias : nullptr;
  pass.ops.linear_backward_weight(dy, lddy, x, ldx, pass.grads + matrix.weight, matrix.in, dbias,
                                  pass.rows, matrix.out, matrix.in, pass.batch.parts);
  if (!dx) return;
  pass.ops.linear_backward_input(dy, lddy, linear.weight, dx, lddx, pass.rows, accumulate);
}

void mlp_backward(const Pass& pass, const GatedMlp& mlp, const PublishedMlp& published,
                  const float* normed, const float* gate_up, const float* dout,
                  const float* row_weights, float* dweights, float* dnormed, bool accumulate) {
  const int64_t m = pass.rows, hidden = pass.config.width, width = mlp.width();
  Scratch& s = pass.scratch;
  float* act = s.act.get(m * width);
  float* dact = s.dact.get(m * width);
  float* dgate_up = s.dgate_up.get(m * 2 * width);
  pass.ops.linear_backward_input(dout, hidden, published.down.weight, dact, width, m, false);
  pass.ops.swiglu_backward(dact, width, gate_up, 2 * width, dgate_up, 2 * width, m, width, act,
                           {nullptr, row_weights, dweights});
  linear_backward(pass, mlp.down, published.down, dout, hidden, act, width, nullptr, 0, false);
  linear_backward(pass, mlp.gate_up, published.gate_up, dgate_up, 2 * width, normed, hidden,
                  dnormed, hidden, accumulate);
}

namespace {

// Around one half of a layer, x -> x + half(norm(x)) or x -> x + norm(half(x)): dx is the gradient of
// the sum on entry and of x on return. backward(half_in, dout, dhalf_in) is that of the half alone.
struct HalfNorm {
  std::span<const float> weight;
  const float* inv;
  float* dweight;
};
template <class Backward>
void half_backward(const Pass& pass, const HalfNorm& norm, const float* x, const float* half_out,
                   float* dx, const Backward& backward) {
  const int64_t m = pass.rows, width = pass.config.width;
  float* dhalf_in = pass.scratch.dnormed.get(m * width);
  const auto norm_backward = [&](const float* dy, const float* of, float* to, bool accumulate) {
    pass.ops.rms_norm_backward(dy, width, of, width, norm.weight.data(), norm.inv, to, width,
                               norm.dweight, m, width, accumulate, 1, pass.batch.parts);
  };
  if (pass.config.norm_behind) {
    float* dout = pass.scratch.out.get(m * width);
    norm_backward(dx, half_out, dout, false);
    backward(x, dout, dhalf_in);
    pass.ops.add(dx, dhalf_in, dx, m * width);
    return;
  }
  // Norms are cheap: recomputing them gives the same bits and saves two [m, width] a layer.
  float* normed = pass.scratch.normed.get(m * width);
  pass.ops.rms_norm(x, width, norm.weight.data(), pass.config.norm_eps, normed, width, nullptr, m,
                    width);
  backward(normed, dx, dhalf_in);
  norm_backward(dhalf_in, x, dx, true);
}

}  // namespace

void layer_backward(const Pass& pass, int layer, const float* x_in, LayerState& state, float* dx,
                    const float* aux) {
  const PublishedLayer& l = pass.model.layers[layer];
  const LayerLayout& layout = pass.layout.layers[layer];
  half_backward(pass, {l.post_norm, state.inv_post.data(), pass.grads + layout.post_norm},
                state.x_mid.data(), state.mlp_out.data(), dx,
                [&](const float* in, const float* dout, float* din) {
                  if (pass.config.sparse[layer]) {
                    moe_backward(pass, layer, in, state, dout, din, aux);
                  } else {
                    mlp_backward(pass, layout.mlp, l.mlp, in, state.gate_up.data(), dout, nullptr,
                                 nullptr, din, false);
                  }
                });
  half_backward(pass, {l.input_norm, state.inv_input.data(), pass.grads + layout.input_norm}, x_in,
                state.attention_out.data(), dx,
                [&](const float* in, const float* dout, float* din) {
                  if (pass.config.is_latent()) {
                    latent_attention_backward(pass, layer, in, state, dout, din);
                  } else {
                    attention_backward(pass, layer, in, state, dout, din);
                  }
                });
}

}  // namespace zeroth

#include <algorithm>

#include "policy/decoder.h"

namespace zeroth {

using namespace kernels;

void linear_backward(const Pass& pass, const Matrix& matrix, const Linear& linear,
                     At<const float> dy, int64_t lddy, At<const float> x, int64_t ldx, At<float> dx,
                     int64_t lddx, bool accumulate) {
  At<float> dbias = matrix.bias >= 0 ? pass.grads + matrix.bias : At<float>();
  pass.ops.linear_backward_weight(dy, lddy, x, ldx, pass.grads + matrix.weight, matrix.in, dbias,
                                  pass.rows, matrix.out, matrix.in, pass.batch.parts);
  if (!dx) return;
  pass.ops.linear_backward_input(dy, lddy, linear.weight, dx, lddx, pass.rows, accumulate);
}

void mlp_backward(const Pass& pass, const GatedMlp& mlp, const PublishedMlp& published,
                  At<const float> normed, At<const float> gate_up, At<const float> dout,
                  At<const float> row_weights, At<float> dweights, At<float> dnormed,
                  bool accumulate) {
  const int64_t m = pass.rows, hidden = pass.config.width, width = mlp.width();
  Scratch& s = pass.scratch;
  At<float> act = s.act.get(m * width);
  At<float> dact = s.dact.get(m * width);
  At<float> dgate_up = s.dgate_up.get(m * 2 * width);
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
  View<const float> weight;
  At<const float> inv;
  At<float> dweight;
};
template <class Backward>
void half_backward(const Pass& pass, const HalfNorm& norm, At<const float> x,
                   At<const float> half_out, At<float> dx, const Backward& backward) {
  const int64_t m = pass.rows, width = pass.config.width;
  At<float> dhalf_in = pass.scratch.dnormed.get(m * width);
  const auto norm_backward = [&](At<const float> dy, At<const float> of, At<float> to,
                                 bool accumulate) {
    pass.ops.rms_norm_backward(dy, width, of, width, norm.weight.data(), norm.inv, to, width,
                               norm.dweight, m, width, accumulate, 1, pass.batch.parts);
  };
  if (pass.config.norm_behind) {
    At<float> dout = pass.scratch.out.get(m * width);
    norm_backward(dx, half_out, dout, false);
    backward(x, dout, dhalf_in);
    pass.ops.add(dx, dhalf_in, dx, m * width);
    return;
  }
  // Norms are cheap: recomputing them gives the same bits and saves two [m, width] a layer.
  At<float> normed = pass.scratch.normed.get(m * width);
  pass.ops.rms_norm(x, width, norm.weight.data(), pass.config.norm_eps, normed, width, nullptr, m,
                    width);
  backward(normed, dx, dhalf_in);
  norm_backward(dhalf_in, x, dx, true);
}

}  // namespace

void layer_backward(const Pass& pass, int layer, At<const float> x_in, LayerState& state,
                    At<float> dx, const float* aux) {
  const PublishedLayer& l = pass.model.layers[layer];
  const LayerLayout& layout = pass.layout.layers[layer];
  half_backward(pass, {l.post_norm, state.inv_post.data(), pass.grads + layout.post_norm},
                state.x_mid.data(), state.mlp_out.data(), dx,
                [&](At<const float> in, At<const float> dout, At<float> din) {
                  if (pass.config.sparse[layer]) {
                    moe_backward(pass, layer, in, state, dout, din, aux);
                  } else {
                    mlp_backward(pass, layout.mlp, l.mlp, in, state.gate_up.data(), dout, nullptr,
                                 nullptr, din, false);
                  }
                });
  half_backward(pass, {l.input_norm, state.inv_input.data(), pass.grads + layout.input_norm}, x_in,
                state.attention_out.data(), dx,
                [&](At<const float> in, At<const float> dout, At<float> din) {
                  if (pass.config.is_latent()) {
                    latent_attention_backward(pass, layer, in, state, dout, din);
                  } else {
                    attention_backward(pass, layer, in, state, dout, din);
                  }
                });
}

}  // namespace zeroth

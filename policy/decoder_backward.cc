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
                           {nullptr, row_weights, dweights}, pass.config.gate);
  linear_backward(pass, mlp.down, published.down, dout, hidden, act, width, nullptr, 0, false);
  linear_backward(pass, mlp.gate_up, published.gate_up, dgate_up, 2 * width, normed, hidden,
                  dnormed, hidden, accumulate);
}

namespace {

// A norm around a half of a layer; its weight is empty where the family has none there.
struct HalfNorm {
  View<const float> weight;
  At<const float> inv;
  int64_t place;  // of the weight's gradient
};

void norm_backward(const Pass& pass, const HalfNorm& norm, At<const float> dy, At<const float> x,
                   At<float> dx, bool accumulate) {
  const int64_t m = pass.rows, width = pass.config.width;
  pass.ops.rms_norm_backward(dy, width, x, width, norm.weight.data(), norm.inv, dx, width,
                             pass.grads + norm.place, m, width, accumulate, 1, pass.batch.parts,
                             pass.config.norm_plus_one);
}

// Around one half of a layer, x -> x + behind(half(before(x))): dx is the gradient of the sum on
// entry and of x on return; half_out is what the half gave. backward(half_in, dout, dhalf_in) is that
// of the half alone.
template <class Backward>
void half_backward(const Pass& pass, const HalfNorm& before, const HalfNorm& behind,
                   At<const float> x, At<const float> half_out, At<float> dx,
                   const Backward& backward) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows, width = c.width;
  At<float> dhalf_in = pass.scratch.dnormed.get(m * width);
  At<float> dout = dx;
  if (!behind.weight.empty()) {
    dout = pass.scratch.out.get(m * width);
    norm_backward(pass, behind, dx, half_out, dout, false);
  }
  if (before.weight.empty()) {
    backward(x, dout, dhalf_in);
    pass.ops.add(dx, dhalf_in, dx, m * width);
    return;
  }
  // Norms are cheap: recomputing them gives the same bits and saves two [m, width] a layer.
  At<float> normed = pass.scratch.normed.get(m * width);
  pass.ops.rms_norm(x, width, before.weight.data(), c.norm_eps, normed, width, nullptr, m, width, 1,
                    0, c.norm_plus_one);
  backward(normed, dout, dhalf_in);
  norm_backward(pass, before, dhalf_in, x, dx, true);
}

}  // namespace

void layer_backward(const Pass& pass, int layer, At<const float> x_in, LayerState& state,
                    At<float> dx, const float* aux) {
  const PublishedLayer& l = pass.model.layers[layer];
  const LayerLayout& layout = pass.layout.layers[layer];
  half_backward(pass, {l.post_norm, state.inv_post.data(), layout.post_norm},
                {l.mlp_out_norm, state.inv_mlp_out.data(), layout.mlp_out_norm}, state.x_mid.data(),
                state.mlp_out.data(), dx,
                [&](At<const float> in, At<const float> dout, At<float> din) {
                  if (pass.config.sparse[layer]) {
                    moe_backward(pass, layer, in, state, dout, din, aux);
                  } else {
                    mlp_backward(pass, layout.mlp, l.mlp, in, state.gate_up.data(), dout, nullptr,
                                 nullptr, din, false);
                  }
                });
  half_backward(pass, {l.input_norm, state.inv_input.data(), layout.input_norm},
                {l.attention_out_norm, state.inv_attention_out.data(), layout.attention_out_norm},
                x_in, state.attention_out.data(), dx,
                [&](At<const float> in, At<const float> dout, At<float> din) {
                  if (pass.config.recurrent[layer]) {
                    delta_backward(pass, layer, in, state, dout, din);
                  } else if (pass.config.is_latent()) {
                    latent_attention_backward(pass, layer, in, state, dout, din);
                  } else {
                    attention_backward(pass, layer, in, state, dout, din);
                  }
                });
}

}  // namespace zeroth

// Multi-head latent attention (DeepSeek-V2, section 2.1), expanded form: keys and values of every
// head are made from the latent before they go to the cache, so that attention itself is the
// standard operator.
#include "policy/decoder.h"

namespace zeroth {
namespace {

using namespace kernels;

// The reference classes build these two norms with their default, whatever rms_norm_eps says.
constexpr float kLatentEps = 1e-6f;

struct Widths {
  int64_t heads, nope, rope, v, k, q_rank, kv_rank, q_all, kv_up, kv_in;
  explicit Widths(const PolicyConfig& c)
      : heads(c.heads),
        nope(c.latent.nope_dim),
        rope(c.latent.rope_dim),
        v(c.latent.v_dim),
        k(nope + rope),
        q_rank(c.latent.q_rank),
        kv_rank(c.latent.kv_rank),
        q_all(heads * k),
        kv_up(heads * (nope + v)),
        kv_in(kv_rank + rope) {}
  LatentHeads parts() const { return {heads, nope, rope, v}; }
};

void rotate(const Pass& pass, At<float> x, int64_t ld, int64_t stride, int heads, bool inverse) {
  const PolicyConfig& c = pass.config;
  pass.ops.rope(x, ld, stride, pass.device.positions.data(), pass.rope.cos, pass.rope.sin,
                pass.rows, heads, c.latent.rope_dim, c.rope.interleaved, inverse);
}

// Keys and values of every head into the cache, from the rotated latent [m, kv_in] and its norm.
void write_keys(const Pass& pass, int layer, At<const float> latent,
                At<const float> latent_normed) {
  const Widths w(pass.config);
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  At<float> kv = s.kv.get(m * w.kv_up);
  At<float> k = s.k.get(m * w.q_all);
  At<float> v = s.v.get(m * w.heads * w.v);
  pass.model.layers[layer].kv_up(pass.ops, latent_normed, w.kv_rank, kv, w.kv_up, m);
  pass.ops.expand_latent(w.parts(), kv, latent + w.kv_rank, w.kv_in, k, v, m);
  pass.ops.kv_write(pass.cache.layer(layer), pass.device.writes, k, w.q_all, v, w.heads * w.v);
}

}  // namespace

void latent_attention_cache(const Pass& pass, int layer, LayerState& state) {
  const Widths w(pass.config);
  const int64_t m = pass.rows;
  At<const float> latent = state.kv_latent.data();
  At<float> latent_normed = pass.scratch.latent.get(m * w.kv_rank);
  pass.ops.rms_norm(latent, w.kv_in, pass.model.layers[layer].kv_latent_norm.data(), kLatentEps,
                    latent_normed, w.kv_rank, nullptr, m, w.kv_rank);
  write_keys(pass, layer, latent, latent_normed);
}

void latent_attention_forward(const Pass& pass, int layer, At<const float> normed,
                              LayerState& state, At<float> out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const Widths w(c);
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  At<float> inv = state.inv_latent.get(2 * m);

  At<float> q = state.q.get(m * w.q_all);
  if (w.q_rank > 0) {
    At<float> latent = state.q_latent.get(m * w.q_rank);
    At<float> latent_normed = s.latent.get(m * w.q_rank);
    l.q_in(pass.ops, normed, c.width, latent, w.q_rank, m);
    pass.ops.rms_norm(latent, w.q_rank, l.q_latent_norm.data(), kLatentEps, latent_normed, w.q_rank,
                      inv, m, w.q_rank);
    l.q_up(pass.ops, latent_normed, w.q_rank, q, w.q_all, m);
  } else {
    pass.ops.zero_rows(inv, m, 1, m);  // kept with the rest of a row
    l.q_in(pass.ops, normed, c.width, q, w.q_all, m);
  }
  rotate(pass, q + w.nope, w.q_all, w.k, c.heads, false);

  At<float> latent = state.kv_latent.get(m * w.kv_in);
  l.kv_in(pass.ops, normed, c.width, latent, w.kv_in, m);
  rotate(pass, latent + w.kv_rank, w.kv_in, w.rope, 1, false);
  At<float> latent_normed = s.latent.get(m * w.kv_rank);
  pass.ops.rms_norm(latent, w.kv_in, l.kv_latent_norm.data(), kLatentEps, latent_normed, w.kv_rank,
                    inv + m, m, w.kv_rank);
  if (pass.write_cache) write_keys(pass, layer, latent, latent_normed);
  attend(pass, layer, q, w.q_all, state, out, pass.all());
}

void latent_attention_backward(const Pass& pass, int layer, At<const float> normed,
                               LayerState& state, At<const float> dout, At<float> dnormed) {
  const PolicyConfig& c = pass.config;
  const LayerLayout& layout = pass.layout.layers[layer];
  const PublishedLayer& l = pass.model.layers[layer];
  const Widths w(c);
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  At<const float> inv = state.inv_latent.data();

  At<float> dq = s.dqkv.get(m * w.q_all);
  At<float> dk = s.dk.get(m * w.q_all);
  At<float> dv = s.dv.get(m * w.heads * w.v);
  attend_backward(pass, layer, state.q.data(), w.q_all, state, dout, dq, w.q_all, dk, w.q_all, dv,
                  w.heads * w.v);

  // Keys and values.
  At<float> dkv = s.dkv.get(m * w.kv_up);
  At<float> dlatent = s.dlatent.get(m * w.kv_in);
  pass.ops.collapse_latent(w.parts(), dk, dv, dkv, dlatent + w.kv_rank, w.kv_in, m);
  rotate(pass, dlatent + w.kv_rank, w.kv_in, w.rope, 1, true);
  At<const float> latent = state.kv_latent.data();
  At<float> latent_normed = s.latent.get(m * w.kv_rank);
  At<float> dlatent_normed = s.dlatent_normed.get(m * w.kv_rank);
  pass.ops.rms_norm(latent, w.kv_in, l.kv_latent_norm.data(), kLatentEps, latent_normed, w.kv_rank,
                    nullptr, m, w.kv_rank);
  linear_backward(pass, layout.kv_up, l.kv_up, dkv, w.kv_up, latent_normed, w.kv_rank,
                  dlatent_normed, w.kv_rank, false);
  pass.ops.rms_norm_backward(dlatent_normed, w.kv_rank, latent, w.kv_in, l.kv_latent_norm.data(),
                             inv + m, dlatent, w.kv_in, pass.grads + layout.kv_latent_norm, m,
                             w.kv_rank, false, 1, pass.batch.parts);
  linear_backward(pass, layout.kv_in, l.kv_in, dlatent, w.kv_in, normed, c.width, dnormed, c.width,
                  false);

  // Queries.
  rotate(pass, dq + w.nope, w.q_all, w.k, c.heads, true);
  if (w.q_rank == 0) {
    linear_backward(pass, layout.q_in, l.q_in, dq, w.q_all, normed, c.width, dnormed, c.width,
                    true);
    return;
  }
  latent = state.q_latent.data();
  latent_normed = s.latent.get(m * w.q_rank);
  dlatent_normed = s.dlatent_normed.get(m * w.q_rank);
  dlatent = s.dlatent.get(m * w.q_rank);
  pass.ops.rms_norm(latent, w.q_rank, l.q_latent_norm.data(), kLatentEps, latent_normed, w.q_rank,
                    nullptr, m, w.q_rank);
  linear_backward(pass, layout.q_up, l.q_up, dq, w.q_all, latent_normed, w.q_rank, dlatent_normed,
                  w.q_rank, false);
  pass.ops.rms_norm_backward(dlatent_normed, w.q_rank, latent, w.q_rank, l.q_latent_norm.data(),
                             inv, dlatent, w.q_rank, pass.grads + layout.q_latent_norm, m, w.q_rank,
                             false, 1, pass.batch.parts);
  linear_backward(pass, layout.q_in, l.q_in, dlatent, w.q_rank, normed, c.width, dnormed, c.width,
                  true);
}

}  // namespace zeroth

// Multi-head latent attention (DeepSeek-V2, section 2.1). Expanded: keys and values of every head
// are made from the latent before they go to the cache. Absorbed: the normed latent and the rotated
// part beside it are the key of all heads, and its first part the value; queries pass the keys'
// matrix before attention, and what it gives passes the values' matrix behind it. Attention itself is
// the standard operator either way.
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
  pass.ops.rope(x, ld, stride, pass.rope_positions, pass.rope.cos, pass.rope.sin, pass.rows, heads,
                c.latent.rope_dim, c.rope.interleaved, inverse);
}

// The part with position of a row's queries [nope | rope] by head, to those of the absorbed form
// [kv_rank | rope].
GroupSplit rotated_part(const Widths& w, int head) {
  return {1, 1, {w.rope}, {head * w.kv_in + w.kv_rank}};
}

// Queries [m, heads * k] as they meet latents: [m, heads * kv_in].
At<float> absorb_queries(const Pass& pass, int layer, At<const float> q) {
  const Widths w(pass.config);
  const At<float> out = pass.scratch.q.get(pass.rows * w.heads * w.kv_in);
  const std::vector<Linear>& keys = pass.model.latents[layer].keys;
  for (int h = 0; h < static_cast<int>(w.heads); ++h) {
    const At<const float> from = q + h * w.k;
    pass.ops.linear_backward_input(from, w.q_all, keys[h].weight, out + h * w.kv_in,
                                   w.heads * w.kv_in, pass.rows, false);
    pass.ops.split_groups(from + w.nope, w.q_all, rotated_part(w, h), out, w.heads * w.kv_in,
                          pass.rows);
  }
  return out;
}

// dq [m, heads * k] (=) from that of absorbed queries, which also gives the keys' matrix its part.
void absorb_queries_backward(const Pass& pass, int layer, At<const float> q,
                             At<const float> dabsorbed, At<float> dq) {
  const Widths w(pass.config);
  const Matrix& kv_up = pass.layout.layers[layer].kv_up;
  const std::vector<Linear>& keys = pass.model.latents[layer].keys;
  const int64_t ld = w.heads * w.kv_in;
  for (int h = 0; h < static_cast<int>(w.heads); ++h) {
    const At<const float> dy = dabsorbed + h * w.kv_in;
    const Matrix matrix = latent_keys_of(pass.config, kv_up, h);
    pass.ops.linear_backward_weight(q + h * w.k, w.q_all, dy, ld, pass.grads + matrix.weight,
                                    matrix.in, {}, pass.rows, matrix.out, matrix.in,
                                    pass.batch.parts);
    keys[h](pass.ops, dy, ld, dq + h * w.k, w.q_all, pass.rows);
    pass.ops.join_groups(dabsorbed, ld, rotated_part(w, h), dq + h * w.k + w.nope, w.q_all,
                         pass.rows);
  }
}

// The key and value of all heads into the cache, from the rotated latent [m, kv_in]; its normed part
// is at `key` [m, kv_in] already.
void write_latents(const Pass& pass, int layer, At<const float> latent, At<float> key) {
  const Widths w(pass.config);
  const GroupSplit rotated = {1, 1, {w.rope}, {w.kv_rank}};
  pass.ops.split_groups(latent + w.kv_rank, w.kv_in, rotated, key, w.kv_in, pass.rows);
  pass.ops.kv_write(pass.cache.layer(layer), pass.device.writes, key, w.kv_in, {}, 0);
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

// A row's norm of its latent, where what follows reads it: [m, distance of rows].
struct NormedLatent {
  At<float> at;
  int64_t ld;
};

// `inv` [m] is kept where it is not null.
NormedLatent norm_latent(const Pass& pass, int layer, At<const float> latent, At<float> inv) {
  const Widths w(pass.config);
  const int64_t ld = pass.config.absorbed() ? w.kv_in : w.kv_rank;
  const NormedLatent out = {pass.scratch.latent.get(pass.rows * ld), ld};
  pass.ops.rms_norm(latent, w.kv_in, pass.model.layers[layer].kv_latent_norm.data(), kLatentEps,
                    out.at, ld, inv, pass.rows, w.kv_rank);
  return out;
}

void write_cache(const Pass& pass, int layer, At<const float> latent, const NormedLatent& normed) {
  if (pass.config.absorbed()) {
    write_latents(pass, layer, latent, normed.at);
  } else {
    write_keys(pass, layer, latent, normed.at);
  }
}

}  // namespace

At<float> values_of_latents(const Pass& pass, int layer, At<const float> attended) {
  const Widths w(pass.config);
  const At<float> out = pass.scratch.v.get(pass.rows * w.heads * w.v);
  const std::vector<Linear>& values = pass.model.latents[layer].values;
  for (int h = 0; h < static_cast<int>(w.heads); ++h)
    values[h](pass.ops, attended + h * w.kv_rank, w.heads * w.kv_rank, out + h * w.v, w.heads * w.v,
              pass.rows);
  return out;
}

void values_of_latents_backward(const Pass& pass, int layer, At<const float> attended,
                                At<const float> dvalues, At<float> dattended) {
  const Widths w(pass.config);
  const Matrix& kv_up = pass.layout.layers[layer].kv_up;
  const std::vector<Linear>& values = pass.model.latents[layer].values;
  for (int h = 0; h < static_cast<int>(w.heads); ++h)
    linear_backward(pass, latent_values_of(pass.config, kv_up, h), values[h], dvalues + h * w.v,
                    w.heads * w.v, attended + h * w.kv_rank, w.heads * w.kv_rank,
                    dattended + h * w.kv_rank, w.heads * w.kv_rank, false);
}

void latent_attention_cache(const Pass& pass, int layer, LayerState& state) {
  const At<const float> latent = state.kv_latent.data();
  write_cache(pass, layer, latent, norm_latent(pass, layer, latent, nullptr));
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
  const NormedLatent latent_normed = norm_latent(pass, layer, latent, inv + m);
  if (pass.write_cache) write_cache(pass, layer, latent, latent_normed);
  if (c.absorbed()) {
    attend(pass, layer, absorb_queries(pass, layer, q), w.heads * w.kv_in, state, out, pass.all());
  } else {
    attend(pass, layer, q, w.q_all, state, out, pass.all());
  }
}

namespace {

// Backward through attention and the cache: dq (=) of rotated queries, of `dlatent` [m, kv_in] the
// part with position (=). Returns the gradient of the normed latent [m, kv_rank].
At<float> through_heads(const Pass& pass, int layer, LayerState& state, At<const float> dout,
                        At<float> dq, At<float> dlatent) {
  const Widths w(pass.config);
  const int64_t m = pass.rows;
  Scratch& s = pass.scratch;
  const At<float> dk = s.dk.get(m * w.q_all);
  const At<float> dv = s.dv.get(m * w.heads * w.v);
  attend_backward(pass, layer, state.q.data(), w.q_all, state, dout, dq, w.q_all, dk, w.q_all, dv,
                  w.heads * w.v);
  const At<float> dkv = s.dkv.get(m * w.kv_up);
  pass.ops.collapse_latent(w.parts(), dk, dv, dkv, dlatent + w.kv_rank, w.kv_in, m);
  const NormedLatent normed = norm_latent(pass, layer, state.kv_latent.data(), nullptr);
  const At<float> dnormed = s.dlatent_normed.get(m * w.kv_rank);
  linear_backward(pass, pass.layout.layers[layer].kv_up, pass.model.layers[layer].kv_up, dkv,
                  w.kv_up, normed.at, normed.ld, dnormed, w.kv_rank, false);
  return dnormed;
}

// The same of the absorbed form.
At<float> through_latents(const Pass& pass, int layer, LayerState& state, At<const float> dout,
                          At<float> dq, At<float> dlatent) {
  const Widths w(pass.config);
  const int64_t m = pass.rows, ld = w.heads * w.kv_in;
  Scratch& s = pass.scratch;
  const At<float> absorbed = absorb_queries(pass, layer, state.q.data());
  const At<float> dabsorbed = s.dqk.get(m * ld);
  const At<float> dk = s.dk.get(m * w.kv_in);
  const At<float> dv = s.dv.get(m * w.kv_rank);
  attend_backward(pass, layer, absorbed, ld, state, dout, dabsorbed, ld, dk, w.kv_in, dv,
                  w.kv_rank);
  absorb_queries_backward(pass, layer, state.q.data(), dabsorbed, dq);
  const GroupSplit parts = {1, 2, {w.kv_rank, w.rope}, {-1, w.kv_rank}};
  pass.ops.split_groups(dk, w.kv_in, parts, dlatent, w.kv_in, m);
  // A latent is a key's part and a value: the sum of both gradients.
  const GroupSplit first = {1, 2, {w.kv_rank, w.rope}, {0, -1}};
  const At<float> dnormed = s.dlatent_normed.get(m * w.kv_rank);
  pass.ops.split_groups(dk, w.kv_in, first, dnormed, w.kv_rank, m);
  pass.ops.add(dnormed, dv, dnormed, m * w.kv_rank);
  return dnormed;
}

}  // namespace

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
  At<float> dlatent = s.dlatent.get(m * w.kv_in);
  At<const float> latent = state.kv_latent.data();
  At<float> dlatent_normed = c.absorbed() ? through_latents(pass, layer, state, dout, dq, dlatent)
                                          : through_heads(pass, layer, state, dout, dq, dlatent);

  // The latent.
  rotate(pass, dlatent + w.kv_rank, w.kv_in, w.rope, 1, true);
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
  const At<float> latent_normed = s.latent.get(m * w.q_rank);
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

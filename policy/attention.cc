// Standard attention: grouped queries, optional biases, query/key norms, clipping and gates.
#include <algorithm>
#include <array>

#include "policy/decoder.h"

namespace zeroth {
namespace {

using namespace kernels;

// Widths of a row of the fused projection [q | k | v].
struct Widths {
  int64_t q, kv, qk, all;
  explicit Widths(const PolicyConfig& c)
      : q(int64_t{c.heads} * c.head_dim),
        kv(int64_t{c.kv_heads} * c.head_dim),
        qk(q + kv),
        all(q + 2 * kv) {}
};

// Queries (index 0) or keys (1): columns from `column`, in `heads` parts of `width` that are each
// normalised on their own; their first row of inv_rms is `inv`.
struct NormedPart {
  int64_t column, width, heads, inv;
};

std::array<NormedPart, 2> normed_parts(const PolicyConfig& c) {
  const Widths w(c);
  if (c.qk_norm == QkNorm::kWholeWidth) return {{{0, w.q, 1, 0}, {w.q, w.kv, 1, 1}}};
  return {{{0, c.head_dim, c.heads, 0}, {w.q, c.head_dim, c.kv_heads, c.heads}}};
}

// Queries and keys of all rows as attention sees them, except for rotation: normed and clipped into
// scratch, or where they were projected; only `rows` are computed. `inv` is null when only the
// values are wanted again.
// Of a projected row: [q | gate] by head, then keys and values.
GroupSplit queries_and_gates(const PolicyConfig& c, int64_t queries_to, int64_t gates_to) {
  return {c.heads, 2, {c.head_dim, c.head_dim}, {queries_to, gates_to}};
}
GroupSplit keys_and_values(const Widths& w) { return {1, 1, {2 * w.kv}, {w.q}}; }

// Projects `rows` to queries, keys and values, and gates to where attention will stand behind them.
void project(const Pass& pass, int layer, At<const float> normed, LayerState& state,
             const Rows& rows, const FetchList& fetch) {
  const PolicyConfig& c = pass.config;
  const Widths w(c);
  const Linear& linear = pass.model.layers[layer].qkv;
  const At<const float> x = normed + rows.begin * c.width;
  const At<float> qkv = state.qkv.get(pass.rows * w.all) + rows.begin * w.all;
  if (!c.attention_gate) return linear(pass.ops, x, c.width, qkv, w.all, rows.count, fetch);
  const int64_t given = w.all + w.q;
  const At<float> out = pass.scratch.projected.get(pass.rows * given) + rows.begin * given;
  linear(pass.ops, x, c.width, out, given, rows.count, fetch);
  pass.ops.split_groups(out, given, queries_and_gates(c, 0, -1), qkv, w.all, rows.count);
  pass.ops.split_groups(out + 2 * w.q, given, keys_and_values(w), qkv, w.all, rows.count);
  pass.ops.split_groups(out, given, queries_and_gates(c, -1, 0),
                        state.attention.get(pass.rows * 2 * w.q) + rows.begin * 2 * w.q, 2 * w.q,
                        rows.count);
}

At<float> prepare_qk(const Pass& pass, int layer, LayerState& state, At<float> inv, int64_t* ld,
                     const Rows& rows) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const Widths w(c);
  const int64_t m = pass.rows;
  At<float> qkv = state.qkv.data();
  *ld = w.all;
  if (c.qk_norm == QkNorm::kNone) return qkv;
  At<float> qk = pass.scratch.qk.get(m * w.qk);
  *ld = w.qk;
  const auto parts = normed_parts(c);
  for (size_t i = 0; i < parts.size(); ++i) {
    const NormedPart& p = parts[i];
    const View<const float> weight = i == 0 ? l.q_norm : l.k_norm;
    pass.ops.rms_norm(qkv + rows.begin * w.all + p.column, w.all, weight.data(), c.norm_eps,
                      qk + rows.begin * w.qk + p.column, w.qk,
                      inv ? inv + p.inv * m + rows.begin : At<float>(), rows.count, p.width,
                      p.heads, m, c.norm_plus_one);
  }
  if (c.clip_qkv > 0)
    pass.ops.clamp_rows(qk + rows.begin * w.qk, w.qk, rows.count, w.qk, c.clip_qkv);
  return qk;
}

void rotate(const Pass& pass, int layer, At<float> qk, int64_t ld, bool inverse, const Rows& rows) {
  const PolicyConfig& c = pass.config;
  if (!c.rotated[layer]) return;
  const RopeRows& table = pass.rope_of(layer);
  pass.ops.rope(qk + rows.begin * ld, ld, c.head_dim, pass.rope_positions + rows.begin, table.cos,
                table.sin, rows.count, c.heads + c.kv_heads, c.rope_dim(), c.rope.interleaved,
                inverse);
}

// What attention_rows says, for the host.
AttentionRows host_rows(const Pass& pass, int layer, const Rows& rows) {
  return {pass.batch.sequence.subspan(rows.begin, rows.count),
          pass.batch.positions.subspan(rows.begin, rows.count), pass.batch.page_table,
          pass.batch.page_begin, pass.config.window[layer]};
}

// Ids of the pages that a row may see up to its own, from page `first` of its sequence on.
std::span<const int32_t> pages_up_to(const ForwardBatch& batch, int64_t row, int32_t first) {
  const int32_t sequence = batch.sequence[row], begin = batch.page_begin[sequence];
  const int32_t pages =
      std::min(batch.positions[row] / kPageTokens + 1, batch.page_begin[sequence + 1] - begin);
  if (pages <= first) return {};
  return batch.page_table.subspan(begin + first, pages - first);
}

// What attention will read of the cache. Nothing unless in slices: there every row has a sequence
// of its own, and no cache of the core holds the keys and values of all of them.
FetchList pages_seen(const Pass& pass, int layer, const Rows& rows) {
  const DevicePages cache = pass.cache.layer(layer);
  if (rows.count == pass.rows || cache.k_page() != cache.v_page()) return {};
  thread_local std::vector<const float*> pieces;
  pieces.clear();
  const int window = pass.config.window[layer];
  std::span<const int32_t> before;
  int32_t before_first = 0;
  for (int64_t i = rows.begin; i < rows.begin + rows.count; ++i) {
    const int32_t start = window > 0 ? std::max(0, pass.batch.positions[i] - window + 1) : 0;
    const int32_t first = start / kPageTokens;
    const std::span<const int32_t> pages = pages_up_to(pass.batch, i, first);
    for (size_t j = 0; j < pages.size(); ++j) {
      const bool shared = first == before_first && j < before.size() && pages[j] == before[j];
      if (shared) continue;  // with the row above: a group's prompt
      pieces.push_back((cache.k + pages[j] * cache.k_page()).address());
      pieces.push_back((cache.v + pages[j] * cache.v_page()).address());
    }
    before = pages;
    before_first = first;
  }
  return {pieces, cache.k_page()};
}

}  // namespace

DeviceRows attention_rows(const Pass& pass, int layer, const Rows& rows) {
  return {pass.device.sequence.subspan(rows.begin, rows.count),
          pass.device.positions.subspan(rows.begin, rows.count), pass.device.page_table,
          pass.device.page_begin, pass.config.window[layer]};
}

void attend(const Pass& pass, int layer, At<const float> q, int64_t ldq, LayerState& state,
            At<float> out, const Rows& rows) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows, width = int64_t{c.heads} * c.v_dim();
  const int64_t gates = c.attention_gate ? width : 0, ld = gates + width;
  At<float> attended = state.attention.get(m * ld) + rows.begin * ld + gates;
  At<float> lse = state.lse.get(m * c.heads) + rows.begin * c.heads;
  q += rows.begin * ldq;
  if (c.chunk_len > 0) {
    pass.scratch.chunks.forward(pass.ops, c, pass.cache.layer(layer), host_rows(pass, layer, rows),
                                pass.rope.cos, pass.rope.sin, q, ldq, attended, lse);
  } else {
    pass.ops.attention(q, ldq, pass.cache.layer(layer), attention_rows(pass, layer, rows),
                       c.attention_scale(), c.heads, attended, ld, lse);
  }
  const PublishedLayer& l = pass.model.layers[layer];
  if (c.sinks) {
    pass.ops.add_sinks(l.sinks.data(), attended, ld, lse, rows.count, c.heads, c.v_dim());
  }
  if (c.attention_gate) {
    const At<float> gated = pass.scratch.gated.get(m * width) + rows.begin * width;
    pass.ops.swiglu(state.attention.data() + rows.begin * ld, ld, gated, width, rows.count, width,
                    Gate::kSigmoid);
    attended = gated;
  }
  if (c.absorbed()) attended = values_of_latents(pass, layer, attended);
  l.o(pass.ops, attended, l.o.weight.in(), out + rows.begin * c.width, c.width, rows.count);
}

void attend_backward(const Pass& pass, int layer, At<const float> q, int64_t ldq, LayerState& state,
                     At<const float> dout, At<float> dq, int64_t lddq, At<float> dk, int64_t lddk,
                     At<float> dv, int64_t lddv) {
  const PolicyConfig& c = pass.config;
  Scratch& s = pass.scratch;
  const int64_t m = pass.rows, width = int64_t{c.heads} * c.v_dim();
  const int64_t gates = c.attention_gate ? width : 0, ld = gates + width;
  const int64_t given = pass.layout.layers[layer].o.in;  // what the output projection reads
  At<float> dattention = s.dattention.get(m * std::max(width, given));
  At<const float> attended = state.attention.data() + gates, summed = attended;
  if (c.attention_gate) {
    const At<float> gated = s.gated.get(m * width);
    pass.ops.swiglu(state.attention.data(), ld, gated, width, m, width, Gate::kSigmoid);
    summed = gated;
  }
  if (c.absorbed()) summed = values_of_latents(pass, layer, attended);
  linear_backward(pass, pass.layout.layers[layer].o, pass.model.layers[layer].o, dout, c.width,
                  summed, given, dattention, given, false);
  if (c.absorbed()) {
    const At<float> dlatents = s.dgates.get(m * width);
    values_of_latents_backward(pass, layer, attended, dattention, dlatents);
    dattention = dlatents;
  }
  int64_t ldd = width;
  if (c.attention_gate) {
    const At<float> dgated = s.dgates.get(m * ld);
    pass.ops.swiglu_backward(dattention, width, state.attention.data(), ld, dgated, ld, m, width,
                             nullptr, {}, Gate::kSigmoid);
    dattention = dgated + gates;
    ldd = ld;
  }
  if (c.sinks) {
    pass.ops.add_sinks_backward(
        pass.model.layers[layer].sinks.data(), attended, ld, state.lse.data(), dattention, ldd,
        pass.grads + pass.layout.layers[layer].sinks, m, c.heads, c.v_dim(), pass.batch.parts);
  }

  const DevicePages cache = pass.cache.layer(layer);
  DevicePages dcache = cache;
  // A batch may have pages behind those of its caller (policy/image_rows.h).
  const int64_t pages = std::max<int64_t>(pass.cache.pages(), s.page_list.back() + 1);
  dcache.k = s.dcache_k.get(pages * cache.k_page());
  dcache.values_in_keys = false;
  dcache.v = s.dcache_v.get(pages * dcache.v_page());
  pass.ops.zero_pages(dcache, pass.pages);
  if (c.chunk_len > 0) {
    s.chunks.backward(pass.ops, c, cache, host_rows(pass, layer, pass.all()), pass.rope.cos,
                      pass.rope.sin, q, ldq, state.attention.data(), state.lse.data(), dattention,
                      dq, lddq, dcache);
  } else {
    pass.ops.attention_backward(q, ldq, cache, attention_rows(pass, layer, pass.all()),
                                c.attention_scale(), c.heads, attended, ld, state.lse.data(),
                                dattention, ldd, dq, lddq, dcache);
  }
  pass.ops.zero_rows(dk, lddk, m, int64_t{cache.kv_heads} * cache.k_dim);
  pass.ops.zero_rows(dv, lddv, m, int64_t{cache.kv_heads} * cache.v_dim);
  pass.ops.kv_write_backward(dcache, pass.device.writes, dk, lddk, dv, lddv);
}

void attention_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                       At<float> out, const Rows& rows) {
  const PolicyConfig& c = pass.config;
  const Widths w(c);
  const int64_t m = pass.rows;
  project(pass, layer, normed, state, rows, pages_seen(pass, layer, rows));
  const At<float> qkv = state.qkv.data();
  int64_t ld = 0;
  const int64_t norms = LayerWidths(c, layer).qk_norms;
  At<float> inv = norms > 0 ? state.inv_qk.get(m * norms) : At<float>();
  At<float> qk = prepare_qk(pass, layer, state, inv, &ld, rows);
  At<float> v = qkv + w.qk;
  if (c.clip_qkv > 0)
    pass.ops.clamp_rows(v + rows.begin * w.all, w.all, rows.count, w.kv, c.clip_qkv);
  rotate(pass, layer, qk, ld, false, rows);
  if (pass.write_cache) {
    // In slices every row has one write, its own.
    const bool part = rows.count < m;
    pass.ops.kv_write(
        pass.cache.layer(layer),
        part ? pass.device.writes.subspan(rows.begin, rows.count) : pass.device.writes, qk + w.q,
        ld, v, w.all);
  }
  attend(pass, layer, qk, ld, state, out, rows);
}

void prepare_attention(const Pass& pass, int layer, LayerState& state) {
  state.prepare_attention(LayerWidths(pass.config, layer), pass.rows);
  const Widths w(pass.config);
  pass.scratch.qk.get(pass.rows * w.qk);
  if (!pass.config.attention_gate) return;
  pass.scratch.projected.get(pass.rows * (w.all + w.q));
  pass.scratch.gated.get(pass.rows * w.q);
}

void attention_cache(const Pass& pass, int layer, LayerState& state) {
  const Widths w(pass.config);
  int64_t ld = 0;
  At<float> qk = prepare_qk(pass, layer, state, nullptr, &ld, pass.all());
  if (pass.config.qk_norm != QkNorm::kNone) rotate(pass, layer, qk, ld, false, pass.all());
  pass.ops.kv_write(pass.cache.layer(layer), pass.device.writes, qk + w.q, ld,
                    state.qkv.data() + w.qk, w.all);
}

void attention_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                        At<const float> dout, At<float> dnormed) {
  const PolicyConfig& c = pass.config;
  const LayerLayout& layout = pass.layout.layers[layer];
  const PublishedLayer& l = pass.model.layers[layer];
  const Widths w(c);
  const int64_t m = pass.rows;
  const bool normed_qk = c.qk_norm != QkNorm::kNone;
  int64_t ld = 0;
  At<float> qk = prepare_qk(pass, layer, state, nullptr, &ld, pass.all());
  if (normed_qk) rotate(pass, layer, qk, ld, false, pass.all());

  At<float> dqkv = pass.scratch.dqkv.get(m * w.all);
  At<float> dqk = normed_qk ? pass.scratch.dqk.get(m * w.qk) : dqkv;
  attend_backward(pass, layer, qk, ld, state, dout, dqk, ld, dqk + w.q, ld, dqkv + w.qk, w.all);
  rotate(pass, layer, dqk, ld, true, pass.all());
  if (c.clip_qkv > 0) {
    prepare_qk(pass, layer, state, nullptr, &ld, pass.all());  // before rotation
    pass.ops.clamp_rows_backward(qk, ld, dqk, ld, m, w.qk, c.clip_qkv);
    pass.ops.clamp_rows_backward(state.qkv.data() + w.qk, w.all, dqkv + w.qk, w.all, m, w.kv,
                                 c.clip_qkv);
  }
  if (normed_qk) {
    const auto parts = normed_parts(c);
    for (size_t i = 0; i < parts.size(); ++i) {
      const NormedPart& p = parts[i];
      const View<const float> weight = i == 0 ? l.q_norm : l.k_norm;
      At<float> dweight = pass.grads + (i == 0 ? layout.q_norm : layout.k_norm);
      pass.ops.rms_norm_backward(dqk + p.column, w.qk, state.qkv.data() + p.column, w.all,
                                 weight.data(), state.inv_qk.data() + p.inv * m, dqkv + p.column,
                                 w.all, dweight, m, p.width, false, p.heads, pass.batch.parts,
                                 c.norm_plus_one);
    }
  }
  int64_t given = w.all;
  if (c.attention_gate) {
    given += w.q;
    const At<float> dgiven = pass.scratch.projected.get(m * given);
    const At<const float> dgates = pass.scratch.dgates.data();  // left by attend_backward
    pass.ops.join_groups(dqkv, w.all, queries_and_gates(c, 0, -1), dgiven, given, m);
    pass.ops.join_groups(dgates, 2 * w.q, queries_and_gates(c, -1, 0), dgiven, given, m);
    pass.ops.join_groups(dqkv, w.all, keys_and_values(w), dgiven + 2 * w.q, given, m);
    dqkv = dgiven;
  }
  linear_backward(pass, layout.qkv, l.qkv, dqkv, given, normed, c.width, dnormed, c.width, false);
}

}  // namespace zeroth

#include <algorithm>

#include "core/parallel.h"
#include "policy/decoder.h"

namespace zeroth {

using namespace kernels;

void Linear::operator()(const Operators& ops, At<const float> x, int64_t ldx, At<float> y,
                        int64_t ldy, int64_t m, const FetchList& fetch) const {
  ops.linear(x, ldx, weight, bias.data(), y, ldy, m, fetch);
}

void mlp_forward(const Pass& pass, const PublishedMlp& mlp, At<const float> normed,
                 At<float> gate_up, At<float> out) {
  const int64_t m = pass.rows, hidden = pass.config.width, width = mlp.down.weight.in();
  mlp.gate_up(pass.ops, normed, hidden, gate_up, 2 * width, m);
  At<float> act = pass.scratch.act.get(m * width);
  pass.ops.swiglu(gate_up, 2 * width, act, width, m, width, pass.config.gate);
  mlp.down(pass.ops, act, width, out, hidden, m);
}

int64_t slices_of(const Operators& ops, const PolicyConfig& c, const ForwardBatch& batch,
                  int64_t cache_pages) {
  constexpr int64_t kLeastRows = 16, kRows = 32;  // of a slice: fewer would read weights for little
  const int64_t m = static_cast<int64_t>(batch.tokens.size()), threads = num_threads();
  if (!ops.in_slices() || threads == 1 || m < threads * kLeastRows || c.is_latent() ||
      c.chunk_len > 0 || c.recurrent_layers() > 0)
    return 1;
  if (static_cast<int64_t>(batch.writes.size()) != m) return 1;
  // By page: the sequence of the row that writes it.
  thread_local std::vector<int32_t> writer;
  thread_local std::vector<char> seen;
  writer.assign(cache_pages, -1);
  seen.assign(batch.page_begin.size(), 0);
  for (int64_t i = 0; i < m; ++i) {
    int32_t& owner = writer[batch.writes[i].slot / kPageTokens];
    char& again = seen[batch.sequence[i]];
    if (batch.writes[i].row != i || owner >= 0 || again) return 1;
    owner = batch.sequence[i];
    again = 1;
  }
  for (int32_t s = 0; s + 1 < static_cast<int32_t>(batch.page_begin.size()); ++s) {
    for (int32_t j = batch.page_begin[s]; j < batch.page_begin[s + 1]; ++j) {
      const int32_t owner = writer[batch.page_table[j]];
      if (owner >= 0 && owner != s) return 1;
    }
  }
  return std::max<int64_t>(1, m / kRows / threads) * threads;
}

void layer_forward(const Pass& pass, int layer, At<const float> x_in, LayerState& state,
                   At<float> x_out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, width = c.width;
  const bool before = c.norm_before, behind = c.norm_behind;
  At<float> normed = pass.scratch.normed.get(m * width);
  At<float> out = behind ? state.attention_out.get(m * width) : pass.scratch.out.get(m * width);
  At<float> x_mid = state.x_mid.get(m * width);
  const auto inverses = [m](bool there, Floats& of) { return there ? of.get(m) : At<float>(); };
  At<float> inv_input = inverses(before, state.inv_input);
  At<float> inv_post = inverses(before, state.inv_post);
  At<float> inv_attention_out = inverses(behind, state.inv_attention_out);
  At<float> inv_mlp_out = inverses(behind, state.inv_mlp_out);
  const auto norm = [&](At<const float> x, const View<const float>& weight, At<float> inv,
                        const Rows& rows) {
    const int64_t at = rows.begin * width;
    pass.ops.rms_norm(x + at, width, weight.data(), c.norm_eps, normed + at, width,
                      inv + rows.begin, rows.count, width, 1, 0, c.norm_plus_one);
  };

  const auto attention_half = [&](const Rows& rows) {
    const int64_t at = rows.begin * width;
    const At<const float> half_in = before ? At<const float>(normed) : x_in;
    if (before) norm(x_in, l.input_norm, inv_input, rows);
    if (c.recurrent[layer]) {
      delta_forward(pass, layer, half_in, state, out);
    } else if (c.is_latent()) {
      latent_attention_forward(pass, layer, half_in, state, out);
    } else {
      attention_forward(pass, layer, half_in, state, out, rows);
    }
    if (behind) norm(out, l.attention_out_norm, inv_attention_out, rows);
    pass.ops.add(x_in + at, (behind ? normed : out) + at, x_mid + at, rows.count * width);
    if (before) norm(x_mid, l.post_norm, inv_post, rows);
  };
  if (pass.slices == 1) {
    attention_half(pass.all());
  } else {
    prepare_attention(pass, layer, state);
    parallel_for(pass.slices, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) attention_half(pass.slice(i));
    });
  }
  if (behind) out = state.mlp_out.get(m * width);
  const At<const float> half_in = before ? normed : x_mid;
  if (c.sparse[layer]) {
    moe_forward(pass, layer, half_in, state, out);
  } else {
    mlp_forward(pass, l.mlp, half_in, state.gate_up.get(m * 2 * c.mlp_width), out);
  }
  if (behind) norm(out, l.mlp_out_norm, inv_mlp_out, pass.all());
  pass.ops.add(x_mid, behind ? normed : out, x_out, m * width);
}

}  // namespace zeroth

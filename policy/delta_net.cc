// Gated delta nets (kernels/delta.h): projections, convolution, norms of queries and keys, gates,
// the recurrence, a gated norm.
#include "policy/decoder.h"

namespace zeroth {
namespace {

using namespace kernels;

// A row of what the projections give: [channels | beta | a | z], and behind it what z gates.
struct Widths {
  const DeltaShape& shape;
  int64_t heads, channels, keys, values, given, z, normed, all;
  explicit Widths(const PolicyConfig& c)
      : shape(c.delta),
        heads(shape.value_heads),
        channels(shape.channels()),
        keys(shape.keys()),
        values(shape.values()),
        given(channels + 2 * heads + values),
        z(channels + 2 * heads),
        normed(given),
        all(given + values) {}
  // Groups of a row as Qwen3-Next's files have it: [q | k | v | z] by key head, then [beta | a].
  GroupSplit qkvz() const {
    const int64_t of_key = int64_t{shape.share()} * shape.value_dim;
    return {
        shape.key_heads, 4, {shape.key_dim, shape.key_dim, of_key, of_key}, {0, keys, 2 * keys, z}};
  }
  GroupSplit ba() const {
    return {shape.key_heads, 2, {shape.share(), shape.share()}, {channels, channels + heads}};
  }
  int64_t ba_column() const { return channels + values; }
};

// The norm of a key is 1; queries are divided by the root of their width, too.
float norm_eps(const Widths& w) { return 1e-6f / static_cast<float>(w.shape.key_dim); }

DeviceDeltaRuns runs_of(const Pass& pass, int layer) {
  return {pass.delta->runs,        pass.delta->sets,         pass.device.page_table,
          pass.cache.slots(layer), pass.cache.states(layer), pass.delta->longest};
}

// What the recurrence reads, in the scratch of the call: the convolved row (whose end are the
// values), queries, and the gates; keys go to `k` (ldk apart).
struct Inputs {
  At<float> conv, q, gates;
};
Inputs inputs_of(const Pass& pass, int layer, At<const float> in, At<float> k, int64_t ldk,
                 At<float> inv) {
  const Widths w(pass.config);
  const PublishedLayer& l = pass.model.layers[layer];
  const int64_t m = pass.rows, dim = w.shape.key_dim, taps = pass.config.delta_taps;
  Scratch& s = pass.scratch;
  const Inputs out{s.conv.get(m * w.channels), s.q.get(m * w.keys), s.gates.get(m * 2 * w.heads)};
  pass.ops.causal_conv(in, w.all, l.conv.data(), taps, pass.delta->past, pass.cache.slots(layer),
                       w.shape.slot(), out.conv, w.channels, m, w.channels);
  pass.ops.rms_norm(out.conv, w.channels, pass.delta_scales + dim, norm_eps(w), out.q, w.keys, inv,
                    m, dim, w.shape.key_heads);
  pass.ops.rms_norm(out.conv + w.keys, w.channels, pass.delta_scales, norm_eps(w), k, ldk,
                    inv ? inv + w.shape.key_heads * m : At<float>(), m, dim, w.shape.key_heads);
  pass.ops.delta_gates(in + w.channels, w.all, l.a_log.data(), l.dt_bias.data(), out.gates, m,
                       w.heads);
  return out;
}

}  // namespace

void delta_cache(const Pass& pass, int layer, LayerState& state) {
  const Widths w(pass.config);
  const At<float> slots = pass.cache.slots(layer);
  pass.ops.write_slots(slots, w.shape.slot(), 0, pass.device.writes, state.delta_in.data(), w.all,
                       w.channels);
  pass.ops.write_slots(slots, w.shape.slot(), w.channels, pass.device.writes,
                       state.delta_memory.data(), w.shape.memory(), w.shape.memory());
}

void delta_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                   At<float> out) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const Widths w(c);
  const int64_t m = pass.rows;
  At<float> in = state.delta_in.get(m * w.all);
  if (c.grouped_delta) {
    At<float> given = pass.scratch.projected.get(m * w.given);
    l.delta_in(pass.ops, normed, c.width, given, w.given, m);
    pass.ops.split_groups(given, w.given, w.qkvz(), in, w.all, m);
    pass.ops.split_groups(given + w.ba_column(), w.given, w.ba(), in, w.all, m);
  } else {
    l.delta_in(pass.ops, normed, c.width, in, w.all, m);
  }
  At<float> memory = state.delta_memory.get(m * w.shape.memory());
  const Inputs x = inputs_of(pass, layer, in, memory, w.shape.memory(), nullptr);
  At<float> y = state.delta_out.get(m * w.values);
  pass.ops.delta_rule(w.shape, x.q, w.keys, x.conv + 2 * w.keys, w.channels, x.gates,
                      runs_of(pass, layer), memory, y, w.values);
  if (pass.write_cache) delta_cache(pass, layer, state);
  pass.ops.rms_norm(y, w.values, l.delta_norm.data(), c.norm_eps, in + w.normed, w.all,
                    state.inv_delta.get(m * w.heads), m, w.shape.value_dim, w.heads);
  At<float> gated = pass.scratch.gated.get(m * w.values);
  pass.ops.swiglu(in + w.z, w.all, gated, w.values, m, w.values);
  l.o(pass.ops, gated, w.values, out, c.width, m);
}

void delta_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                    At<const float> dout, At<float> dnormed) {
  const PolicyConfig& c = pass.config;
  const PublishedLayer& l = pass.model.layers[layer];
  const LayerLayout& layout = pass.layout.layers[layer];
  const Widths w(c);
  const int64_t m = pass.rows, dim = w.shape.key_dim, heads = w.shape.key_heads;
  Scratch& s = pass.scratch;
  const RowParts parts = pass.batch.parts;
  At<const float> in = state.delta_in.data();
  At<float> din = s.dqkv.get(m * w.all);

  // Projection, gate, norm.
  At<float> gated = s.gated.get(m * w.values), dgated = s.dattention.get(m * w.values);
  pass.ops.swiglu(in + w.z, w.all, gated, w.values, m, w.values);
  linear_backward(pass, layout.o, l.o, dout, c.width, gated, w.values, dgated, w.values, false);
  pass.ops.swiglu_backward(dgated, w.values, in + w.z, w.all, din + w.z, w.all, m, w.values);
  At<float> dy = s.dv.get(m * w.values);
  pass.ops.rms_norm_backward(din + w.normed, w.all, state.delta_out.data(), w.values,
                             l.delta_norm.data(), state.inv_delta.data(), dy, w.values,
                             pass.grads + layout.delta_norm, m, w.shape.value_dim, false, w.heads,
                             parts);

  // Recurrence.
  At<float> inv = s.inv.get(2 * heads * m);
  const Inputs x = inputs_of(pass, layer, in, s.k.get(m * w.keys), w.keys, inv);
  At<float> dqk = s.dqk.get(m * 2 * w.keys), dconv = s.dk.get(m * w.channels);
  At<float> dgates = s.dgates.get(m * 2 * w.heads);
  pass.ops.delta_rule_backward(w.shape, x.q, w.keys, x.conv + 2 * w.keys, w.channels, x.gates,
                               runs_of(pass, layer), state.delta_memory.data(), dy, w.values, dqk,
                               2 * w.keys, dqk + w.keys, 2 * w.keys, dconv + 2 * w.keys, w.channels,
                               dgates);

  // Norms of queries and keys, whose weights are constants; convolution and gates.
  At<float> nobody = s.dlatent.get(dim);
  pass.ops.zero_rows(nobody, dim, 1, dim);
  for (int64_t key : {0, 1}) {
    pass.ops.rms_norm_backward(dqk + key * w.keys, 2 * w.keys, x.conv + key * w.keys, w.channels,
                               pass.delta_scales + (key ? 0 : dim), inv + key * heads * m,
                               dconv + key * w.keys, w.channels, nobody, m, dim, false, heads);
  }
  pass.ops.causal_conv_backward(dconv, w.channels, in, w.all, l.conv.data(), c.delta_taps,
                                pass.delta->past, pass.cache.slots(layer), w.shape.slot(), din,
                                w.all, pass.grads + layout.conv, m, w.channels, parts);
  pass.ops.delta_gates_backward(dgates, in + w.channels, w.all, l.a_log.data(), l.dt_bias.data(),
                                x.gates, din + w.channels, w.all, pass.grads + layout.a_log,
                                pass.grads + layout.dt_bias, m, w.heads, parts);
  if (!c.grouped_delta) {
    linear_backward(pass, layout.delta_in, l.delta_in, din, w.all, normed, c.width, dnormed,
                    c.width, false);
    return;
  }
  At<float> dgiven = s.projected.get(m * w.given);
  pass.ops.join_groups(din, w.all, w.qkvz(), dgiven, w.given, m);
  pass.ops.join_groups(din, w.all, w.ba(), dgiven + w.ba_column(), w.given, m);
  linear_backward(pass, layout.delta_in, l.delta_in, dgiven, w.given, normed, c.width, dnormed,
                  c.width, false);
}

}  // namespace zeroth

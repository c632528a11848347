// What the forward pass of one layer leaves for its backward pass: one list of fields, which
// everybody reads who sizes, stores, recalls or copies them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device_array.h"
#include "kernels/saved_rows.h"
#include "model/config.h"

namespace zeroth {

// How many values a row has of each field in one layer of a model; 0: the layer has no such field.
struct LayerWidths {
  int64_t model = 0;              // hidden width
  int64_t half = 0;               // the same where a norm reads what a half gives
  int64_t before = 0;             // 1 where a norm stands in front of a half
  int64_t qkv = 0, qk_norms = 0;  // standard attention
  int64_t q_latent = 0, kv_latent = 0, q_heads = 0;  // latent attention
  int64_t heads = 0, attended = 0;                   // a gate stands in front of what it multiplies
  // gated delta net
  int64_t delta_in = 0, delta_memory = 0, delta_out = 0, delta_norms = 0;
  int64_t gate_up = 0, choices = 0;  // of one choice (dense: of the row); choices of a row
  int64_t experts = 0, shared_gate_up = 0, shared_gate = 0;

  LayerWidths() = default;
  // `distant`: experts are elsewhere, and keep nothing (policy/expert_exchange.h).
  LayerWidths(const PolicyConfig& c, int layer, bool distant = false)
      : model(c.width), half(c.norm_behind ? c.width : 0), before(c.norm_before ? 1 : 0) {
    if (c.recurrent[layer]) {
      const kernels::DeltaShape& d = c.delta;
      delta_in = d.channels() + 2 * d.value_heads + 2 * d.values();
      delta_memory = d.memory();
      delta_out = d.values();
      delta_norms = d.value_heads;
    } else {
      attention(c);
    }
    if (!c.sparse[layer]) {
      gate_up = 2 * int64_t{c.mlp_width};
      choices = 1;
      return;
    }
    gate_up = distant ? 0 : 2 * int64_t{c.expert_width};
    choices = c.router.top_k;
    experts = c.router.experts;
    shared_gate_up = 2 * int64_t{c.shared_width};
    shared_gate = c.shared_gate ? 1 : 0;
  }

 private:
  void attention(const PolicyConfig& c) {
    heads = c.heads;
    attended = int64_t{c.attention_gate ? 2 : 1} * c.heads * c.v_dim();
    if (c.is_latent()) {
      q_latent = c.latent.q_rank;
      kv_latent = c.latent.kv_rank + c.latent.rope_dim;
      q_heads = int64_t{c.heads} * c.head_width();
    } else {
      qkv = int64_t{c.heads + 2 * c.kv_heads} * c.head_dim;
      if (c.qk_norm == QkNorm::kWholeWidth) qk_norms = 2;
      if (c.qk_norm == QkNorm::kPerHead) qk_norms = c.heads + c.kv_heads;
    }
  }
};

using kernels::At;
using kernels::SavedOrder;
using kernels::View;
using Floats = kernels::Array<float>;
using Ints = kernels::Array<int32_t>;

struct SavedField {
  const char* name;
  int64_t width;
  SavedOrder order = SavedOrder::kRow;
  bool attention = false;  // left by the attention half of a layer
};

struct LayerState {
  Floats inv_input, inv_post;  // [m] of the norms in front of attention, of the other half
  Floats inv_attention_out, inv_mlp_out;  // [m] of the norms behind them
  Floats x_mid;                           // [m, width] after attention
  Floats attention_out, mlp_out;          // [m, width] what the halves give to norms behind them
  Floats qkv;                             // [m, q + 2 kv] rotated unless normed (then as projected)
  Floats inv_qk;                          // [heads + kv_heads, m], or [2, m] for whole-width norms
  Floats q_latent, kv_latent;             // [m, q_rank], [m, kv_rank + rope_dim]
  Floats inv_latent;                      // [2, m]
  Floats q;                               // [m, heads * (nope + rope)] latent attention, rotated
  Floats attention;                       // [m, heads * v_dim()], behind its gate where it has one
  Floats lse;                             // [m, heads]
  Floats delta_in;  // [m, channels | beta | a | z | normed output], as projected
  Floats delta_memory, delta_out, inv_delta;  // [m, memory()], [m, values], [value_heads, m]
  Floats gate_up;                             // [m or m * top_k, 2 * width of the MLP]
  Floats scores, expert_weights;              // [m, experts], [m, top_k]
  Ints expert_ids;                            // [m, top_k]
  kernels::Array<int64_t> offsets;            // [experts + 1]
  Ints order;                                 // [m * top_k] choices sorted by expert
  Floats shared_gate_up;                      // [m, 2 * shared_width]
  Floats shared_score, shared_scale;          // [m] sigmoid gate: score, weight

  // visit(SavedField, member) for every member. The order is that in which rows are stored.
  template <class Visit>
  void each(const LayerWidths& w, Visit&& visit) {
    using enum SavedOrder;
    visit(SavedField{"x_mid", w.model}, x_mid);
    visit(SavedField{"attention", w.attended, kRow, true}, attention);
    visit(SavedField{"attention_out", w.half, kRow, true}, attention_out);
    visit(SavedField{"mlp_out", w.half}, mlp_out);
    visit(SavedField{"inv_input", w.before}, inv_input);
    visit(SavedField{"inv_post", w.before}, inv_post);
    visit(SavedField{"inv_attention_out", w.half > 0 ? 1 : 0}, inv_attention_out);
    visit(SavedField{"inv_mlp_out", w.half > 0 ? 1 : 0}, inv_mlp_out);
    visit(SavedField{"lse", w.heads, kRow, true}, lse);
    visit(SavedField{"q_latent", w.q_latent, kRow, true}, q_latent);
    visit(SavedField{"kv_latent", w.kv_latent, kRow, true}, kv_latent);
    visit(SavedField{"q", w.q_heads, kRow, true}, q);
    visit(SavedField{"inv_latent", w.kv_latent > 0 ? 2 : 0, kColumn, true}, inv_latent);
    visit(SavedField{"qkv", w.qkv, kRow, true}, qkv);
    visit(SavedField{"inv_qk", w.qk_norms, kColumn, true}, inv_qk);
    visit(SavedField{"delta_in", w.delta_in, kRow, true}, delta_in);
    visit(SavedField{"delta_memory", w.delta_memory, kRow, true}, delta_memory);
    visit(SavedField{"delta_out", w.delta_out, kRow, true}, delta_out);
    visit(SavedField{"inv_delta", w.delta_norms, kColumn, true}, inv_delta);
    visit(SavedField{"expert_ids", w.experts > 0 ? w.choices : 0}, expert_ids);
    visit(SavedField{"expert_weights", w.experts > 0 ? w.choices : 0}, expert_weights);
    visit(SavedField{"scores", w.experts}, scores);
    visit(SavedField{"gate_up", w.gate_up, w.experts > 0 ? kChoice : kRow}, gate_up);
    visit(SavedField{"shared_gate_up", w.shared_gate_up}, shared_gate_up);
    visit(SavedField{"shared_score", w.shared_gate}, shared_score);
    visit(SavedField{"shared_scale", w.shared_gate}, shared_scale);
    visit(SavedField{"offsets", 0, kDerived}, offsets);
    visit(SavedField{"order", 0, kDerived}, order);
  }

  int64_t bytes() const;  // memory held now
  // What a row takes of all fields.
  static int64_t row_bytes(const LayerWidths& widths);
  void on(const kernels::Device& device);  // all fields live there from now on
  // Sizes the fields of the attention half for m rows, so that slices of them can be written beside
  // each other.
  void prepare_attention(const LayerWidths& widths, int64_t m);
};

}  // namespace zeroth

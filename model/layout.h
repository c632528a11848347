// Where every weight of a decoder lives: Hugging Face names and shapes (one table for all
// families), and the places in the flat parameter buffer that forward and backward use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/float_ranges.h"
#include "model/parameters.h"

namespace zeroth {

// A weight matrix [out, in] in the flat buffer; may be several named tensors on top of each other
// (q, k and v). Offsets are in floats; -1: absent.
struct Matrix {
  int64_t weight = -1;
  int64_t bias = -1;
  int out = 0, in = 0;
  bool present() const { return weight >= 0; }
};

struct GatedMlp {
  Matrix gate_up;  // [2 * width, hidden]: gate above up
  Matrix down;
  int width() const { return down.in; }
};

struct LayerLayout {
  int64_t input_norm = -1, post_norm = -1;             // in front of the halves; absent: none
  int64_t attention_out_norm = -1, mlp_out_norm = -1;  // behind them
  Matrix o;
  // standard attention
  Matrix qkv;
  int64_t q_norm = -1, k_norm = -1;
  int64_t sinks = -1;  // [heads]
  // gated delta net, whose output projection is o: [channels | beta | a | z] or as the file groups
  // it; [channels, taps], [value_heads] twice, [value_dim]
  Matrix delta_in;
  int64_t conv = -1, a_log = -1, dt_bias = -1, delta_norm = -1;
  // latent attention; q_in gives whole queries, or their latents when q_up is present
  Matrix q_in, q_up, kv_in, kv_up;
  int64_t q_latent_norm = -1, kv_latent_norm = -1;
  // dense layer
  GatedMlp mlp;
  // mixture of experts
  Matrix router;
  int64_t selection_bias = -1;
  std::vector<GatedMlp> experts;
  int64_t expert_gate_up_bias = -1, expert_down_bias = -1;  // [experts, 2 width], [experts, hidden]
  GatedMlp shared;
  Matrix shared_gate;
};

struct Layout {
  std::vector<ParameterInfo> infos;  // placed
  std::vector<LayerLayout> layers;
  int64_t embedding = -1, final_norm = -1;
  Matrix head;  // the embedding when tied
};

// A pure function of the config.
Layout make_layout(const PolicyConfig& config);

// Where latents are absorbed (LatentConfig), kv_up is used by head: its keys [nope_dim, kv_rank],
// below them its values [v_dim, kv_rank].
Matrix latent_keys_of(const PolicyConfig& config, const Matrix& kv_up, int head);
Matrix latent_values_of(const PolicyConfig& config, const Matrix& kv_up, int head);

// The floats of experts [first, last) of all layers, their biases included.
FloatRanges expert_floats(const Layout& layout, int first, int last);

}  // namespace zeroth

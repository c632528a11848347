// What a decoder looks like, read from a Hugging Face config.json (docs/models.md lists the families).
// Everything behind this file (layout, forward, backward, checkpoints) asks the features below and
// never the family.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "kernels/ops.h"
#include "model/families.h"

namespace zeroth {

enum class RopeType { kDefault, kLinear, kLlama3, kYarn, kLongrope };

// Rotary position embedding (Su et al., "RoFormer", 2021, equation 34) and its length extensions.
struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000;
  bool interleaved = false;          // pairs (2i, 2i + 1) (DeepSeek) instead of (i, i + dim/2)
  double factor = 1;                 // linear, llama3, yarn
  double original_max_position = 0;  // llama3, yarn, longrope: length of pre-training
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;  // yarn (Peng et al., "YaRN", 2023, section 3.2)
  bool truncate = true;                  // yarn: correction range in whole dimensions
  double cos_sin_scale = 1;              // yarn, longrope: multiplies cos and sin
  double softmax_scale = 1;              // yarn with mscale_all_dim: multiplies the attention scale
  // longrope (Ding et al., "LongRoPE", 2024): divisor of every frequency below the original length,
  // the only ones in use; and those that transformers takes beyond it.
  std::vector<double> short_factors, long_factors;
};

// Multi-head latent attention (DeepSeek-V2, section 2.1). kv_rank == 0: standard attention.
struct LatentConfig {
  int q_rank = 0;  // 0: queries come from one full matrix
  int kv_rank = 0;
  int nope_dim = 0;  // part of a query/key head without position
  int rope_dim = 0;  // part with position; the key's is shared by all heads
  int v_dim = 0;
  // Attention goes over the normed latents themselves, which take what kv_b_proj does into queries
  // and results ("absorbed", the same section). Mathematically the same, in another order of
  // additions.
  bool absorbed = false;
};

// Names in a file that begin so begin with `to` here, or are those of another modality.
struct NamePrefix {
  std::string from;
  std::optional<std::string> to;
};

struct PolicyConfig : FamilyFeatures {
  Family family = Family::kLlama;
  int vocab_size = 0;
  int width = 0;  // hidden_size
  int layers = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;      // standard attention only
  int rotary_dim = 0;    // of a head: the first so many values are rotated
  int mlp_width = 0;     // of dense layers
  int max_position = 0;  // positions 0 .. max_position - 1 are valid
  float norm_eps = 1e-6f;
  double initializer_range = 0.02;
  bool tied_embeddings = false;

  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  float clip_qkv = 0;  // 0: off
  double query_scalar =
      0;                // attention scores are divided by its root; 0: by that of a head's width
  float logit_cap = 0;  // logits z become cap tanh(z / cap); 0: off
  kernels::Gate gate = kernels::Gate::kSilu;  // of feed-forward blocks
  RopeConfig rope;
  std::optional<RopeConfig> local_rope;  // of layers with a window, where it is another one
  std::vector<char> rotated;             // [layers] 0: queries and keys know no position
  LatentConfig latent;
  // Gated delta nets (kernels/delta.h), whose convolution reads delta_taps tokens.
  std::vector<char> recurrent;  // [layers] 1: a gated delta net in the place of attention
  kernels::DeltaShape delta;
  int delta_taps = 0;
  // Dual chunk attention (policy/dual_chunk.h); chunk_len 0: off.
  int chunk_len = 0, chunk_size = 0;
  std::vector<int> window;  // [layers] sliding window in tokens; 0: the whole context

  std::vector<char> sparse;      // [layers] 1: mixture of experts, 0: dense
  kernels::RouterConfig router;  // experts == 0 when every layer is dense
  bool selection_bias = false;   // e_score_correction_bias
  int expert_width = 0;
  int shared_width = 0;      // width of the shared experts together; 0: none
  bool shared_gate = false;  // shared experts are scaled by a sigmoid gate (Qwen2-MoE)
  double aux_coef = 0;       // router_aux_loss_coef of the file: what pre-training used

  int extra_layers = 0;           // multi-token prediction layers in the file, read by nobody here
  int fp8_block = 0;              // block edge of float8 weights in the file; 0: no float8
  bool mxfp4 = false;             // experts may be MXFP4 in the file
  std::vector<NamePrefix> names;  // of tensors in the file (model/multimodal.h); not written
  // What the file contradicts itself in, or leaves to the reader, and how it was taken: a sentence
  // each.
  std::vector<std::string> notes;
  Json source;  // the file itself (of its text model), written back by Policy::save

  // Throws Error(kUsage) that names `source_name`, the key, the value and what would be accepted.
  static PolicyConfig from_json(const Json& json, const std::string& source_name);
  static PolicyConfig from_file(const std::filesystem::path& config_json);

  bool is_latent() const { return latent.kv_rank > 0; }
  int moe_layers() const;
  int recurrent_layers() const;
  bool is_moe() const { return moe_layers() > 0; }
  // Geometry of the cache and of attention. Latents are expanded to whole heads when they are
  // written to the cache; absorbed, they are the one head that all queries share, whose values are
  // the first v_dim() components of its keys.
  bool absorbed() const { return latent.absorbed; }
  int cache_heads() const { return absorbed() ? 1 : is_latent() ? heads : kv_heads; }
  int k_dim() const { return absorbed() ? latent.kv_rank + latent.rope_dim : head_width(); }
  int v_dim() const { return absorbed() ? latent.kv_rank : is_latent() ? latent.v_dim : head_dim; }
  int64_t cache_floats() const {  // of a token in a layer with attention
    return int64_t{cache_heads()} * (k_dim() + (absorbed() ? 0 : v_dim()));
  }
  int64_t cache_bytes_per_token() const;  // of all layers
  int head_width() const { return is_latent() ? latent.nope_dim + latent.rope_dim : head_dim; }
  int rope_dim() const { return is_latent() ? latent.rope_dim : rotary_dim; }
  float attention_scale() const;
};

// Parameter counts: `active` are those that one token meets (experts: the chosen ones); `embedding`
// is the input table alone, which costs no arithmetic, and is counted in `active` only when the
// head shares it.
struct ParameterCounts {
  int64_t total = 0, active = 0, embedding = 0;
};
ParameterCounts count_parameters(const PolicyConfig& config);

}  // namespace zeroth

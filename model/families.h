// The families of decoders, one row each: names, what absent keys of config.json mean, and the
// features that no key names. docs/architectures.md says how to add one, docs/models.md lists them.
#pragma once

#include <vector>

namespace zeroth {

enum class Family {
  kLlama,
  kMistral,
  kQwen2,
  kQwen3,
  kMixtral,
  kQwen2Moe,
  kQwen3Moe,
  kOlmoe,
  kOlmo2,
  kOlmo3,
  kSmolLm3,
  kPhi3,
  kGlm4,
  kGlm4Moe,
  kGemma3,
  kGptOss,
  kDeepseekV2,
  kDeepseekV3,
  kQwen3Next,
  kQwen35,
  kQwen35Moe
};

// Names of tensors in which families differ, without what stands around them; Llama's by default.
struct TensorNames {
  // The norms in front of a layer's halves, and those behind them (FamilyFeatures).
  const char *attention_norm = "input_layernorm", *mlp_norm = "post_attention_layernorm";
  const char *attention_out_norm = nullptr, *mlp_out_norm = nullptr;
  // Projections that are one tensor in the file; else three, and two.
  const char *qkv = nullptr, *gate_up = nullptr;
  const char *experts = "mlp", *router = "gate";  // what holds router and experts
  bool stacked_experts = false;                   // model/formats/stacked_experts.h
  const char *gate = "gate_proj", *up = "up_proj", *down = "down_proj";  // of an expert
};

struct FamilyNames {
  Family family;
  const char* model_type;    // of config.json: "llama"
  const char* architecture;  // the first of its "architectures": "LlamaForCausalLM"
  TensorNames tensors = {};
};

enum class QkNorm { kNone, kPerHead, kWholeWidth };

// What the family alone decides of the decoder; part of PolicyConfig.
struct FamilyFeatures {
  QkNorm qk_norm = QkNorm::kNone;
  // Where norms of a half stand: in front of it, behind it before its sum with the residual, both.
  bool norm_before = true, norm_behind = false;
  bool norm_plus_one = false;     // weights of norms are stored as their distance from one
  bool scaled_embedding = false;  // embeddings are multiplied by sqrt(hidden_size)
  bool sinks = false;             // a learnt logit more in the softmax of every head
  bool expert_bias = false;       // routers and experts have biases
  bool attention_gate =
      false;                   // q_proj gives a gate beside each query: attention times its sigmoid
  bool delta_net = false;      // layers without attention are gated delta nets (kernels/delta.h)
  bool grouped_delta = false;  // whose projections stand together by key head in the file
};

// Of attention. kByKey: attention_bias; kQkvByKey: qkv_bias; kQkvByAttention: attention_bias, and
// the output has none.
enum class Biases { kByKey, kNone, kQkv, kQkvByKey, kQkvByAttention };
enum class Windows { kNone, kAlways, kByFlag };  // kByFlag: use_sliding_window

// A row. What it leaves out is as in most families.
struct FamilyFacts {
  FamilyNames names;
  FamilyFeatures features = {};
  // What transformers' config class says of absent keys.
  int context = 4096;  // max_position_embeddings
  double eps = 1e-6;   // rms_norm_eps
  double theta = 1e4;  // rope_theta
  int head_dim = 0;    // 0: hidden_size / num_attention_heads
  int window = 4096;   // sliding_window
  int period = 0;      // layer_types: every so many-th layer sees all, the others have the window
                       // (or are gated delta nets)
  double local_theta = 0;  // theta of layers with a window; 0: they are rotated as the others are
  double rotary = 1;       // partial_rotary_factor
  int kv_heads = 0;        // num_key_value_heads; 0: num_attention_heads
  bool bias = false;       // attention_bias
  bool tied = false;       // tie_word_embeddings
  // Which keys are read, and how.
  Biases biases = Biases::kByKey;
  bool partial_rotary = false;    // partial_rotary_factor
  bool qk_norm_by_key = false;    // use_qk_norm
  bool no_rope_layers = false;    // layers without rotation
  bool interleaved_rope = false;  // neighbours are rotated as pairs
  bool extra_layers = false;      // for multi-token prediction, behind the others
  bool mlp_bias = false;
  Windows windows = Windows::kNone;
  bool window_by_layer = false;  // by layer_types or max_window_layers; else all layers have it
  bool sparse = false;           // experts
  bool dense_width = true;       // intermediate_size has to be there
};

const FamilyFacts& facts_of(Family family);
const FamilyNames& names_of(Family family);
const char* to_string(Family family);  // the model_type
std::vector<Family> known_families();

}  // namespace zeroth

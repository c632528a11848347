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
  kDeepseekV2,
  kDeepseekV3
};

// Names of tensors in which families differ, without what stands around them; Llama's by default.
struct TensorNames {
  const char* attention_norm = "input_layernorm";     // the norm of a layer's attention half
  const char* mlp_norm = "post_attention_layernorm";  // and that of its feed-forward half
  const char* experts = "mlp";                        // the block of router and experts
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
  // The norm of a half stands behind it, before its sum with the residual; else it stands in front.
  bool norm_behind = false;
};

enum class Biases { kByKey, kNone, kQkv, kQkvByKey };  // of attention; kByKey: attention_bias
enum class Windows { kNone, kAlways, kByFlag };        // kByFlag: use_sliding_window

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
  // Which keys are read, and how.
  Biases biases = Biases::kByKey;
  bool mlp_bias = false;
  Windows windows = Windows::kNone;
  bool window_by_layer = false;  // by layer_types or max_window_layers; else all layers have it
  bool sparse = false;           // experts
};

const FamilyFacts& facts_of(Family family);
const FamilyNames& names_of(Family family);
const char* to_string(Family family);  // the model_type
std::vector<Family> known_families();

}  // namespace zeroth

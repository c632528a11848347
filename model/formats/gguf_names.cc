#include "model/formats/gguf_names.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "core/error.h"

namespace zeroth {
namespace {

// Of families that share a name the first is what it means where metadata say nothing else.
constexpr GgufArchitecture kArchitectures[] = {
    {.family = Family::kLlama, .gguf = "llama", .interleaved = true},
    {.family = Family::kMistral, .gguf = "llama", .interleaved = true},
    {.family = Family::kMixtral, .gguf = "llama", .experts = true, .interleaved = true},
    {.family = Family::kQwen2, .gguf = "qwen2", .square = true},
    {.family = Family::kQwen3, .gguf = "qwen3"},
    {.family = Family::kQwen2Moe,
     .gguf = "qwen2moe",
     .experts = true,
     .square = true,
     .own_head = true},
    {.family = Family::kQwen3Moe, .gguf = "qwen3moe", .experts = true},
    {.family = Family::kOlmoe,
     .gguf = "olmoe",
     .experts = true,
     .square = true,
     .kv_head_each = true,
     .own_head = true},
    {.family = Family::kOlmo2, .gguf = "olmo2", .square = true, .own_head = true},
    {.family = Family::kOlmo3, .gguf = "olmo2", .square = true, .own_head = true, .period = 4},
    {.family = Family::kSmolLm3, .gguf = "smollm3", .interleaved = true},
    {.family = Family::kPhi3, .gguf = "phi3", .square = true},
    {.family = Family::kGlm4, .gguf = "glm4"},
    {.family = Family::kGlm4Moe,
     .gguf = "glm4moe",
     .experts = true,
     .mlp_norm = "post_attention_norm"},
    {.family = Family::kGemma3, .gguf = "gemma3", .period = 6},
    {.family = Family::kGptOss,
     .gguf = "gpt-oss",
     .experts = true,
     .own_head = true,
     .period = 2,
     .mlp_norm = "post_attention_norm"},
    {.family = Family::kQwen3Next,
     .gguf = "qwen3next",
     .experts = true,
     .mlp_norm = "post_attention_norm"},
    {.family = Family::kQwen35, .gguf = "qwen35", .mlp_norm = "post_attention_norm"},
    {.family = Family::kQwen35Moe,
     .gguf = "qwen35moe",
     .experts = true,
     .mlp_norm = "post_attention_norm"},
    {.family = Family::kDeepseekV2, .gguf = "deepseek2"},
    {.family = Family::kDeepseekV3, .gguf = "deepseek2"},
};

struct Rename {
  const char* hugging_face;
  const char* gguf;
};
// Names that all families have in common.
constexpr Rename kLayerNames[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
};

std::string known_names() {
  std::string names, last;
  for (const GgufArchitecture& row : kArchitectures) {
    if (last == row.gguf) continue;
    last = row.gguf;
    names += (names.empty() ? "" : ", ") + last;
  }
  return names;
}

GgufName named(std::string tensor) {
  GgufName out;
  out.tensor = std::move(tensor);
  return out;
}

// `name` is "7.up_proj".
GgufName expert_name(const TensorNames& names, const std::string& block, const std::string& name,
                     const std::string& kind) {
  const Rename parts[] = {{names.gate, "ffn_gate"}, {names.up, "ffn_up"}, {names.down, "ffn_down"}};
  const size_t dot = name.find('.');
  for (const Rename& row : parts) {
    if (name.substr(dot + 1) != row.hugging_face) continue;
    GgufName out;
    out.expert = std::atoll(name.c_str());
    out.tensor = block + row.gguf + "_exps" + kind;
    out.lone_tensor = block + row.gguf + "." + std::to_string(out.expert) + kind;
    return out;
  }
  return {};
}

// Inside a layer; nullptr: llama.cpp has no such tensor. `part` is without .weight and .bias.
const char* layer_name(Family family, const std::string& part) {
  const TensorNames& names = names_of(family).tensors;
  const GgufArchitecture& architecture = gguf_architecture_of(family);
  // A norm behind a half may have the name that one in front has elsewhere.
  const auto is = [&part](const char* name) { return name != nullptr && part == name; };
  if (is(names.attention_out_norm)) return architecture.attention_out_norm;
  if (is(names.mlp_out_norm)) return architecture.mlp_out_norm;
  if (is(names.attention_norm)) return architecture.attention_norm;
  if (is(names.mlp_norm)) return architecture.mlp_norm;
  if (part == std::string(names.experts) + "." + names.router) return "ffn_gate_inp";
  for (const Rename& row : kLayerNames) {
    if (part == row.hugging_face) return row.gguf;
  }
  return nullptr;
}

}  // namespace

const GgufArchitecture& gguf_architecture(const GgufContents& contents) {
  const std::string name = contents.text("general.architecture");
  const auto named = [&name](const GgufArchitecture& row) { return name == row.gguf; };
  const auto* plain = std::find_if(std::begin(kArchitectures), std::end(kArchitectures), named);
  if (plain == std::end(kArchitectures)) {
    fail(contents.source + ": general.architecture is \"" + name + "\", which is not implemented",
         "use one of " + known_names());
  }
  if (plain->family == Family::kLlama && contents.number(name + ".expert_count", 0) > 0) {
    return gguf_architecture_of(Family::kMixtral);
  }
  if (plain->family == Family::kDeepseekV2 &&
      contents.number(name + ".expert_gating_func", 1) == 2) {
    return gguf_architecture_of(Family::kDeepseekV3);
  }
  if (plain->family == Family::kOlmo2 &&
      contents.number(name + ".attention.sliding_window", 0) > 0) {
    return gguf_architecture_of(Family::kOlmo3);
  }
  return *plain;
}

const GgufArchitecture& gguf_architecture_of(Family family) {
  const auto same = [family](const GgufArchitecture& row) { return row.family == family; };
  const auto* row = std::find_if(std::begin(kArchitectures), std::end(kArchitectures), same);
  if (row != std::end(kArchitectures)) return *row;
  fail(std::string("files for llama.cpp are not written of ") + to_string(family),
       "keep the model as a Hugging Face directory");
}

bool split_layer_name(const std::string& name, std::string& block, std::string& rest) {
  const std::string prefix = "model.layers.";
  if (!name.starts_with(prefix)) return false;
  const size_t dot = name.find('.', prefix.size());
  if (dot == std::string::npos) return false;
  block = "blk." + name.substr(prefix.size(), dot - prefix.size()) + ".";
  rest = name.substr(dot + 1);
  return true;
}

GgufName gguf_name(Family family, const std::string& name) {
  if (name == "model.embed_tokens.weight") return named("token_embd.weight");
  if (name == "model.norm.weight") return named("output_norm.weight");
  if (name == "lm_head.weight") return named("output.weight");
  std::string block, rest;
  if (!split_layer_name(name, block, rest)) return {};
  if (rest.ends_with("gate.e_score_correction_bias")) {
    return named(block + "exp_probs_b.bias");
  }
  if (rest == "self_attn.sinks") return named(block + "attn_sinks.weight");
  if (rest.ends_with(".experts.down_proj_bias")) return named(block + "ffn_down_exps.bias");
  if (rest.ends_with(".experts.gate_up_proj_bias")) {
    GgufName out = named(block + "ffn_gate_exps.bias");
    out.beside = block + "ffn_up_exps.bias";
    return out;
  }
  const size_t last = rest.rfind('.');
  if (last == std::string::npos) return {};
  const std::string kind = rest.substr(last);  // .weight or .bias
  const std::string part = rest.substr(0, last);
  const size_t experts = part.find(".experts.");
  if (experts != std::string::npos) {
    return expert_name(names_of(family).tensors, block, part.substr(experts + 9), kind);
  }
  const char* inside = layer_name(family, part);
  if (inside == nullptr) return {};
  const bool query_or_key = part == "self_attn.q_proj" || part == "self_attn.k_proj";
  GgufName out = named(block + inside + kind);
  out.query_or_key = query_or_key;
  return out;
}

bool gguf_latent_names(const std::string& name, GgufLatentNames& names) {
  std::string block, rest;
  if (!split_layer_name(name, block, rest) || rest != "self_attn.kv_b_proj.weight") return false;
  names = {block + "attn_k_b.weight", block + "attn_v_b.weight"};
  return true;
}

}  // namespace zeroth

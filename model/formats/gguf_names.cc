#include "model/formats/gguf_names.h"

#include <cstdlib>

#include "core/error.h"

namespace zeroth {
namespace {

constexpr GgufArchitecture kArchitectures[] = {
    {"llama", Family::kLlama},          {"qwen2", Family::kQwen2},       {"qwen3", Family::kQwen3},
    {"qwen2moe", Family::kQwen2Moe},    {"qwen3moe", Family::kQwen3Moe}, {"olmoe", Family::kOlmoe},
    {"deepseek2", Family::kDeepseekV2},
};

struct Rename {
  const char* hugging_face;
  const char* gguf;
};
// Inside a layer; parts without .weight and .bias.
constexpr Rename kLayerNames[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
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
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
};
constexpr Rename kExpertNames[] = {
    {"gate_proj", "ffn_gate"}, {"w1", "ffn_gate"},        {"up_proj", "ffn_up"},
    {"w3", "ffn_up"},          {"down_proj", "ffn_down"}, {"w2", "ffn_down"},
};

// "model.layers.7.rest" -> "blk.7." and "rest".
bool split_layer(const std::string& name, std::string& block, std::string& rest) {
  const std::string prefix = "model.layers.";
  if (!name.starts_with(prefix)) return false;
  const size_t dot = name.find('.', prefix.size());
  if (dot == std::string::npos) return false;
  block = "blk." + name.substr(prefix.size(), dot - prefix.size()) + ".";
  rest = name.substr(dot + 1);
  return true;
}

// `name` is "7.up_proj".
GgufName expert_name(const std::string& block, const std::string& name, const std::string& kind) {
  const size_t dot = name.find('.');
  for (const Rename& row : kExpertNames) {
    if (name.substr(dot + 1) != row.hugging_face) continue;
    GgufName out;
    out.expert = std::atoll(name.c_str());
    out.tensor = block + row.gguf + "_exps" + kind;
    out.lone_tensor = block + row.gguf + "." + std::to_string(out.expert) + kind;
    return out;
  }
  return {};
}

}  // namespace

const GgufArchitecture& gguf_architecture(const std::string& name, const std::string& source) {
  std::string known;
  for (const GgufArchitecture& row : kArchitectures) {
    if (name == row.gguf) return row;
    known += std::string(known.empty() ? "" : ", ") + row.gguf;
  }
  fail(source + ": general.architecture is \"" + name + "\", which is not implemented",
       "use one of " + known);
}

const char* gguf_architecture_of(Family family) {
  if (family == Family::kMixtral || family == Family::kMistral) return "llama";
  if (family == Family::kDeepseekV3) return "deepseek2";
  for (const GgufArchitecture& row : kArchitectures) {
    if (family == row.family) return row.gguf;
  }
  return "";
}

GgufName gguf_name(const std::string& name) {
  if (name == "model.embed_tokens.weight") return {"token_embd.weight", -1, "", false};
  if (name == "model.norm.weight") return {"output_norm.weight", -1, "", false};
  if (name == "lm_head.weight") return {"output.weight", -1, "", false};
  std::string block, rest;
  if (!split_layer(name, block, rest)) return {};
  if (rest.ends_with("gate.e_score_correction_bias")) {
    return {block + "exp_probs_b.bias", -1, "", false};
  }
  const size_t last = rest.rfind('.');
  if (last == std::string::npos) return {};
  const std::string kind = rest.substr(last);  // .weight or .bias
  const std::string part = rest.substr(0, last);
  const size_t experts = part.find(".experts.");
  if (experts != std::string::npos) return expert_name(block, part.substr(experts + 9), kind);
  for (const Rename& row : kLayerNames) {
    if (part != row.hugging_face) continue;
    const bool query_or_key = part == "self_attn.q_proj" || part == "self_attn.k_proj";
    return {block + row.gguf + kind, -1, "", query_or_key};
  }
  return {};
}

bool gguf_latent_names(const std::string& name, GgufLatentNames& names) {
  std::string block, rest;
  if (!split_layer(name, block, rest) || rest != "self_attn.kv_b_proj.weight") return false;
  names = {block + "attn_k_b.weight", block + "attn_v_b.weight"};
  return true;
}

}  // namespace zeroth

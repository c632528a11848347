#include "model/families.h"

#include <algorithm>
#include <iterator>

namespace zeroth {
namespace {

constexpr FamilyFacts kFamilies[] = {
    {.names = {Family::kLlama, "llama", "LlamaForCausalLM"}, .context = 2048, .mlp_bias = true},
    {.names = {Family::kMistral, "mistral", "MistralForCausalLM"},
     .context = 131072,
     .biases = Biases::kNone,
     .windows = Windows::kAlways},
    {.names = {Family::kQwen2, "qwen2", "Qwen2ForCausalLM"},
     .context = 32768,
     .biases = Biases::kQkv,
     .windows = Windows::kByFlag,
     .window_by_layer = true},
    {.names = {Family::kQwen3, "qwen3", "Qwen3ForCausalLM"},
     .features = {.qk_norm = QkNorm::kPerHead},
     .context = 32768,
     .head_dim = 128,
     .windows = Windows::kByFlag,
     .window_by_layer = true},
    {.names = {Family::kMixtral,
               "mixtral",
               "MixtralForCausalLM",
               {.experts = "block_sparse_moe", .gate = "w1", .up = "w3", .down = "w2"}},
     .context = 131072,
     .eps = 1e-5,
     .theta = 1e6,
     .window = 0,
     .biases = Biases::kNone,
     .windows = Windows::kAlways,
     .sparse = true},
    {.names = {Family::kQwen2Moe, "qwen2_moe", "Qwen2MoeForCausalLM"},
     .context = 32768,
     .biases = Biases::kQkvByKey,
     .windows = Windows::kByFlag,
     .window_by_layer = true,
     .sparse = true},
    {.names = {Family::kQwen3Moe, "qwen3_moe", "Qwen3MoeForCausalLM"},
     .features = {.qk_norm = QkNorm::kPerHead},
     .context = 32768,
     .windows = Windows::kByFlag,
     .sparse = true},
    {.names = {Family::kOlmoe, "olmoe", "OlmoeForCausalLM"},
     .features = {.qk_norm = QkNorm::kWholeWidth},
     .eps = 1e-5,
     .sparse = true},
    {.names = {Family::kOlmo2,
               "olmo2",
               "Olmo2ForCausalLM",
               {.attention_norm = "post_attention_layernorm",
                .mlp_norm = "post_feedforward_layernorm"}},
     .features = {.qk_norm = QkNorm::kWholeWidth, .norm_behind = true},
     .context = 2048,
     .eps = 1e-5},
    {.names = {Family::kDeepseekV2, "deepseek_v2", "DeepseekV2ForCausalLM"},
     .context = 2048,
     .mlp_bias = true,
     .sparse = true},
    {.names = {Family::kDeepseekV3, "deepseek_v3", "DeepseekV3ForCausalLM"}, .sparse = true},
};

}  // namespace

const FamilyFacts& facts_of(Family family) {
  const auto same = [family](const FamilyFacts& facts) { return facts.names.family == family; };
  return *std::find_if(std::begin(kFamilies), std::end(kFamilies), same);
}

const FamilyNames& names_of(Family family) { return facts_of(family).names; }

const char* to_string(Family family) { return names_of(family).model_type; }

std::vector<Family> known_families() {
  std::vector<Family> out;
  for (const FamilyFacts& facts : kFamilies) out.push_back(facts.names.family);
  return out;
}

}  // namespace zeroth

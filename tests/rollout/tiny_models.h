// Random policies of three kinds and a tokenizer of letters, for the engine's tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "text/tokenizer.h"

namespace zeroth {

constexpr int kTinyVocab = 96;

// `changes`: further keys of config.json, or other values.
inline std::unique_ptr<Policy> tiny_policy(const std::string& kind, uint64_t seed = 3,
                                           const Json& changes = Json::object()) {
  // A wide initializer makes peaked distributions, so that a wrong context changes tokens at once.
  Json json = {{"vocab_size", kTinyVocab},
               {"hidden_size", 48},
               {"intermediate_size", 80},
               {"num_hidden_layers", 3},
               {"num_attention_heads", 4},
               {"num_key_value_heads", 2},
               {"head_dim", 16},
               {"max_position_embeddings", 256},
               {"hidden_act", "silu"},
               {"rms_norm_eps", 1e-6},
               {"tie_word_embeddings", false},
               {"initializer_range", 0.25}};
  if (kind == "dense") {
    json["architectures"] = {"LlamaForCausalLM"};
    json["model_type"] = "llama";
    json["rope_theta"] = 10000.0;
  } else if (kind == "moe") {
    json["architectures"] = {"Qwen3MoeForCausalLM"};
    json["model_type"] = "qwen3_moe";
    json["num_experts"] = 8;
    json["num_experts_per_tok"] = 2;
    json["moe_intermediate_size"] = 24;
    json["norm_topk_prob"] = true;
    json["decoder_sparse_step"] = 1;
    json["mlp_only_layers"] = Json::array();
    json["rope_theta"] = 10000.0;
  } else {
    json["architectures"] = {"DeepseekV3ForCausalLM"};
    json["model_type"] = "deepseek_v3";
    json["num_key_value_heads"] = 4;
    json["kv_lora_rank"] = 16;
    json["q_lora_rank"] = 24;
    json["qk_nope_head_dim"] = 8;
    json["qk_rope_head_dim"] = 8;
    json["v_head_dim"] = 12;
    json["first_k_dense_replace"] = 1;
    json["n_routed_experts"] = 8;
    json["n_shared_experts"] = 1;
    json["num_experts_per_tok"] = 2;
    json["n_group"] = 2;
    json["topk_group"] = 1;
    json["moe_intermediate_size"] = 24;
    json["norm_topk_prob"] = true;
    json["routed_scaling_factor"] = 2.5;
    json["rope_theta"] = 10000.0;
    json.erase("head_dim");
  }
  for (const auto& [key, value] : changes.items()) json[key] = value;
  return Policy::init(PolicyConfig::from_json(json, kind), seed);
}

// Token 0 is special, token 1 is end-of-text, token i is a letter (every fourth one a pair).
class LetterTokenizer : public Tokenizer {
 public:
  LetterTokenizer() { special_.ends = {1}; }
  std::vector<TokenId> encode(std::string_view text, bool) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(2 + (c - 'a'));
    return ids;
  }
  std::string decode(std::span<const TokenId> ids, bool skip_special) const override {
    std::string text;
    for (const TokenId id : ids) {
      if (id > 1 || !skip_special) text += token_bytes(id);
    }
    return text;
  }
  std::string token_bytes(TokenId id) const override {
    if (id == 0) return "<pad>";
    if (id == 1) return "<eos>";
    const std::string letter(1, static_cast<char>('a' + (id - 2) % 26));
    return id >= 28 && id % 4 == 0 ? letter + letter : letter;
  }
  int vocab_size() const override { return kTinyVocab; }
};

}  // namespace zeroth

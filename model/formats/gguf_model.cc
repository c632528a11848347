#include "model/formats/gguf_model.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <numbers>
#include <set>

#include "core/error.h"
#include "model/formats/gguf_names.h"

namespace zeroth {
namespace {

constexpr int64_t kMaxLayers = 4096;

// Metadata under the architecture's own prefix.
class Keys {
 public:
  explicit Keys(const GgufContents& gguf)
      : gguf_(gguf), prefix_(gguf.text("general.architecture")) {}
  std::string name(const std::string& key) const { return prefix_ + "." + key; }
  bool has(const std::string& key) const { return gguf_.has(name(key)); }
  int64_t number(const std::string& key) const { return gguf_.number(name(key)); }
  int64_t number(const std::string& key, int64_t fallback) const {
    return gguf_.number(name(key), fallback);
  }
  double real(const std::string& key, double fallback) const {
    return gguf_.real(name(key), fallback);
  }
  bool flag(const std::string& key, bool fallback) const { return gguf_.flag(name(key), fallback); }
  std::string text(const std::string& key, const std::string& fallback) const {
    return gguf_.text(name(key), fallback);
  }

 private:
  const GgufContents& gguf_;
  std::string prefix_;
};

// Llama 3's scaling is stored as one divisor per frequency. What gave them may stand beside it;
// else Llama 3.1's (low 1, high 4, original length 8192) are tried.
Json llama3_scaling(const GgufContents& gguf, const Keys& keys, std::span<const float> stored,
                    int head_dim, double theta) {
  if (stored.empty()) return nullptr;
  const std::string name = gguf.source + ": rope_freqs.weight";
  if (static_cast<int>(stored.size()) != head_dim / 2) {
    fail(name + " does not fit heads of " + std::to_string(head_dim), "fetch the file again");
  }
  const double factor = *std::max_element(stored.begin(), stored.end());
  const double low = keys.real("rope.scaling.low_freq_factor", 1);
  const double high = keys.real("rope.scaling.high_freq_factor", 4);
  const auto original =
      static_cast<double>(keys.number("rope.scaling.original_context_length", 8192));
  for (int i = 0; i < head_dim / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * i / head_dim);
    const double turns = original * frequency / (2 * std::numbers::pi);
    double expected = 1;
    if (turns < low) {
      expected = factor;
    } else if (turns < high) {
      const double smooth = (turns - low) / (high - low);
      expected = 1 / ((1 - smooth) / factor + smooth);
    }
    if (!(std::abs(stored[static_cast<size_t>(i)] - expected) <= 1e-3 * expected)) {
      fail(name + "[" + std::to_string(i) + "] is " +
               std::to_string(stored[static_cast<size_t>(i)]) + ", not Llama 3's " +
               std::to_string(expected),
           "only Llama 3's frequency scaling can be expressed");
    }
  }
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", low},
          {"high_freq_factor", high},
          {"original_max_position_embeddings", static_cast<int64_t>(original)}};
}

Json rope_scaling(const GgufContents& gguf, const Keys& keys) {
  const std::string type = keys.text("rope.scaling.type", "none");
  const bool by_tensors = type == "longrope" && gguf.text("general.architecture") == "phi3";
  if (type == "none" || by_tensors) return nullptr;
  const double factor = keys.real("rope.scaling.factor", 1);
  if (type == "linear") return {{"rope_type", "linear"}, {"factor", factor}};
  if (type != "yarn") {
    fail(gguf.source + ": " + keys.name("rope.scaling.type") + " is \"" + type + "\"",
         "none, linear and yarn can be read");
  }
  Json yarn = {
      {"rope_type", "yarn"},
      {"factor", factor},
      {"original_max_position_embeddings", keys.number("rope.scaling.original_context_length")}};
  for (const char* beta : {"beta_fast", "beta_slow"}) {
    const std::string key = std::string("rope.scaling.yarn_") + beta;
    if (keys.has(key)) yarn[beta] = keys.real(key, 0);
  }
  // llama.cpp stores 0.1 times DeepSeek's mscale_all_dim.
  const double log_multiplier = keys.real("rope.scaling.yarn_log_multiplier", 0);
  if (log_multiplier > 0) {
    yarn["mscale"] = yarn["mscale_all_dim"] = std::round(log_multiplier * 1e4) / 1e3;
  }
  return yarn;
}

void add_experts(const GgufContents& gguf, const Keys& keys, const std::string& type,
                 Json& config) {
  const int64_t experts = keys.number("expert_count", 0);
  if (experts == 0) return;
  config["num_experts_per_tok"] = keys.number("expert_used_count");
  if (type == "llama" || type == "gpt-oss") {
    config["num_local_experts"] = experts;
    return;
  }
  config["num_experts"] = experts;
  if (type == "olmoe") {
    config["norm_topk_prob"] = false;
    return;
  }
  const auto gate = gguf.tensors.find("blk.0.ffn_gate_exps.weight");
  const int64_t width = keys.number("expert_feed_forward_length", 0);
  config["moe_intermediate_size"] =
      width > 0 || gate == gguf.tensors.end() ? width : gate->second.shape[1];
  config["norm_topk_prob"] = type != "qwen2moe";
  config["decoder_sparse_step"] = 1;
  if (type != "qwen3moe") {
    const auto shared = gguf.tensors.find("blk.0.ffn_gate_shexp.weight");
    const int64_t stored = keys.number("expert_shared_feed_forward_length", 0);
    config["shared_expert_intermediate_size"] =
        stored > 0 || shared == gguf.tensors.end() ? stored : shared->second.shape[0];
  }
}

// Phi-3's frequencies are stored as two divisors each, with what cos and sin are multiplied by.
Json longrope_scaling(const Keys& keys, const GgufRopeDivisors& divisors) {
  if (divisors.short_factors.empty() && divisors.long_factors.empty()) return nullptr;
  return {{"rope_type", "longrope"},
          {"short_factor", divisors.short_factors},
          {"long_factor", divisors.long_factors},
          {"attention_factor", keys.real("rope.scaling.attn_factor", 1)}};
}

// As a part of a head, so that its product with the head's width is the whole number again.
void add_rotary_part(const Keys& keys, int64_t head_dim, Json& config) {
  const int64_t dim = keys.number("rope.dimension_count", head_dim);
  double part = static_cast<double>(dim) / static_cast<double>(head_dim);
  while (static_cast<int64_t>(static_cast<double>(head_dim) * part) < dim && part < 1)
    part = std::nextafter(part, 2);
  config["partial_rotary_factor"] = part;
}

// Every so many-th layer sees all, or a list says it of each.
void add_windows(const GgufContents& gguf, const Keys& keys, int64_t period, Json& config) {
  const int64_t window = keys.number("attention.sliding_window", 0);
  const std::string pattern = keys.name("attention.sliding_window_pattern");
  const bool list =
      gguf.has(pattern) && std::holds_alternative<std::vector<double>>(gguf.metadata.at(pattern));
  const int64_t step = list ? 0 : gguf.number(pattern, period);
  const auto layers = config["num_hidden_layers"].get<int64_t>();
  if (list && static_cast<int64_t>(gguf.numbers(pattern).size()) != layers) {
    fail(gguf.source + ": " + pattern + " is no list of " + std::to_string(layers) + " layers",
         "fetch the file again");
  }
  Json types = Json::array();
  for (int64_t l = 0; l < std::min<int64_t>(layers, kMaxLayers); ++l) {
    const bool sliding =
        list ? gguf.numbers(pattern)[static_cast<size_t>(l)] != 0 : step > 0 && (l + 1) % step != 0;
    types.push_back(window > 0 && sliding ? "sliding_attention" : "full_attention");
  }
  config["layer_types"] = types;
  config["sliding_window"] = window > 0 ? Json(window) : Json();
}

void add_gemma3(const GgufContents& gguf, const Keys& keys, Json& config) {
  add_windows(gguf, keys, 6, config);
  config.erase("hidden_act");
  config["hidden_activation"] = "gelu_pytorch_tanh";
  config["rope_local_base_freq"] = keys.real("rope.freq_base_swa", 10000);
  // llama.cpp knows the largest model by its layers.
  const bool largest = config["num_hidden_layers"] == 62;
  config["query_pre_attn_scalar"] =
      largest
          ? Json(config["hidden_size"].get<double>() / config["num_attention_heads"].get<double>())
          : config["head_dim"];
  const double cap = keys.real("final_logit_softcapping", 0);
  if (cap > 0) config["final_logit_softcapping"] = cap;
}

// The experts of layers that stand beside `shared` ones, unless the file says how many.
void add_routed_experts(const Keys& keys, int64_t shared, Json& config) {
  config["n_routed_experts"] = keys.number("expert_count");
  config["num_experts_per_tok"] = keys.number("expert_used_count");
  config["n_shared_experts"] = keys.number("expert_shared_count", shared);
  config["moe_intermediate_size"] = keys.number("expert_feed_forward_length");
  config["first_k_dense_replace"] = keys.number("leading_dense_block_count", 0);
  config["routed_scaling_factor"] = keys.real("expert_weights_scale", 1);
  config["norm_topk_prob"] = keys.flag("expert_weights_norm", false);
}

void add_glm4_moe(const GgufContents& gguf, const Keys& keys, Json& config) {
  if (keys.number("expert_gating_func", 2) == 1) {
    fail(gguf.source + ": " + keys.name("expert_gating_func") + " is softmax",
         "GLM-4-MoE scores by sigmoid");
  }
  const int64_t extra = keys.number("nextn_predict_layers", 0);
  config["num_hidden_layers"] = keys.number("block_count") - extra;
  config["num_nextn_predict_layers"] = extra;
  config["use_qk_norm"] = gguf.tensors.contains("blk.0.attn_q_norm.weight");
  add_routed_experts(keys, 1, config);
}

void add_deepseek(const GgufContents& gguf, const Keys& keys, Json& config) {
  const int64_t rope = keys.number("rope.dimension_count");
  // Files of 2025 on store the latents as key and value, and the heads under names of their own.
  const bool split = keys.has("attention.key_length_mla");
  const int64_t key = keys.number(split ? "attention.key_length_mla" : "attention.key_length");
  const int64_t value =
      keys.number(split ? "attention.value_length_mla" : "attention.value_length");
  if (key <= rope) fail(gguf.source + ": " + keys.name("attention.key_length") + " is too small");
  config["qk_rope_head_dim"] = rope;
  config["qk_nope_head_dim"] = key - rope;
  config["v_head_dim"] = value;
  config["kv_lora_rank"] = keys.number("attention.kv_lora_rank");
  const int64_t q_rank = keys.number("attention.q_lora_rank", 0);
  config["q_lora_rank"] = q_rank > 0 ? Json(q_rank) : Json();
  config["num_key_value_heads"] = config["num_attention_heads"];
  config.erase("head_dim");
  add_routed_experts(keys, 0, config);
  const bool sigmoid = keys.number("expert_gating_func", 1) == 2;
  const int64_t groups = keys.number("expert_group_count", 1);
  config["n_group"] = groups;
  config["topk_group"] = keys.number("expert_group_used_count", 1);
  config["scoring_func"] = sigmoid ? "sigmoid" : "softmax";
  config["topk_method"] = sigmoid ? "noaux_tc" : groups > 1 ? "group_limited_greedy" : "greedy";
}

// Gated delta nets, and every so many-th layer attention unless a list says it of each.
void add_delta_nets(const GgufContents& gguf, const Keys& keys, Json& config) {
  // Multi-token prediction layers are counted as layers.
  const int64_t layers = keys.number("block_count") - keys.number("nextn_predict_layers", 0);
  const int64_t interval = keys.number("full_attention_interval", 4);
  const std::vector<double>& listed = gguf.numbers(keys.name("attention.recurrent_layers"));
  if (interval < 1 || (!listed.empty() && static_cast<int64_t>(listed.size()) < layers)) {
    fail(gguf.source + ": " +
             keys.name(interval < 1 ? "full_attention_interval" : "attention.recurrent_layers") +
             " does not fit " + std::to_string(layers) + " layers",
         "fetch the file again");
  }
  Json types = Json::array();
  for (int64_t l = 0; l < std::min(layers, kMaxLayers); ++l) {
    const bool recurrent =
        listed.empty() ? (l + 1) % interval != 0 : listed[static_cast<size_t>(l)] != 0;
    types.push_back(recurrent ? "linear_attention" : "full_attention");
  }
  config["num_hidden_layers"] = layers;
  config["layer_types"] = types;
  const int64_t heads = keys.number("ssm.time_step_rank"), inner = keys.number("ssm.inner_size");
  if (heads < 1 || inner % heads != 0) {
    fail(gguf.source + ": " + keys.name("ssm.inner_size") + " is " + std::to_string(inner) +
             ", no multiple of the " + std::to_string(heads) + " heads of ssm.time_step_rank",
         "fetch the file again");
  }
  config["linear_num_key_heads"] = keys.number("ssm.group_count");
  config["linear_num_value_heads"] = heads;
  config["linear_key_head_dim"] = keys.number("ssm.state_size");
  config["linear_value_head_dim"] = inner / heads;
  config["linear_conv_kernel_dim"] = keys.number("ssm.conv_kernel");
}

Json config_of(const GgufContents& gguf, const GgufRopeDivisors& divisors) {
  const GgufArchitecture& architecture = gguf_architecture(gguf);
  const Keys keys(gguf);
  const auto embedding = gguf.tensors.find("token_embd.weight");
  if (embedding == gguf.tensors.end() || embedding->second.shape.size() != 2) {
    fail(gguf.source + ": tensor \"token_embd.weight\" is missing or no matrix",
         "the file holds no language model");
  }
  const int64_t width = keys.number("embedding_length");
  const int64_t heads = keys.number("attention.head_count");
  if (heads < 1) fail(gguf.source + ": " + keys.name("attention.head_count") + " is 0");
  const int64_t head_dim = keys.number("attention.key_length", width / heads);
  const double theta = keys.real("rope.freq_base", 10000);
  Json config = {{"vocab_size", embedding->second.shape[0]},
                 {"hidden_size", width},
                 {"intermediate_size", keys.number("feed_forward_length", 0)},
                 {"num_hidden_layers", keys.number("block_count")},
                 {"num_attention_heads", heads},
                 {"num_key_value_heads", keys.number("attention.head_count_kv", heads)},
                 {"head_dim", head_dim},
                 {"hidden_act", "silu"},
                 {"rms_norm_eps", keys.real("attention.layer_norm_rms_epsilon", 1e-6)},
                 {"rope_theta", theta},
                 {"max_position_embeddings", keys.number("context_length")},
                 {"tie_word_embeddings", !gguf.tensors.contains("output.weight")}};
  config["model_type"] = names_of(architecture.family).model_type;
  config["architectures"] = {names_of(architecture.family).architecture};
  const std::string type = architecture.gguf;
  const bool biased = gguf.tensors.contains("blk.0.attn_q.bias");
  if (type == "llama") {
    config["attention_bias"] = biased;
    config["mlp_bias"] = gguf.tensors.contains("blk.0.ffn_gate.bias");
  }
  if (type == "glm4" || type == "glm4moe" || type == "gpt-oss") config["attention_bias"] = biased;
  if (facts_of(architecture.family).partial_rotary) add_rotary_part(keys, head_dim, config);
  if (architecture.family == Family::kOlmo3 || architecture.family == Family::kGptOss) {
    add_windows(gguf, keys, architecture.period, config);
  }
  if (type == "gemma3") add_gemma3(gguf, keys, config);
  if (facts_of(architecture.family).features.delta_net) add_delta_nets(gguf, keys, config);
  if (config["intermediate_size"] == 0) {
    config["intermediate_size"] = keys.number("expert_feed_forward_length");
  }
  if (type == "olmoe" && keys.has("attention.clamp_kqv")) {
    config["clip_qkv"] = keys.real("attention.clamp_kqv", 0);
  }
  if (type == "deepseek2") {
    add_deepseek(gguf, keys, config);
  } else if (type == "glm4moe") {
    add_glm4_moe(gguf, keys, config);
  } else {
    add_experts(gguf, keys, type, config);
  }
  Json scaling = rope_scaling(gguf, keys);
  if (scaling.is_null()) {
    scaling = llama3_scaling(gguf, keys, divisors.llama3, static_cast<int>(head_dim), theta);
  }
  // An absent scaling means YaRN to GptOssConfig.
  if (scaling.is_null() && type == "gpt-oss") scaling = {{"rope_type", "default"}};
  if (scaling.is_null() && type == "phi3") {
    scaling = longrope_scaling(keys, divisors);
    config["original_max_position_embeddings"] = keys.number(
        "rope.scaling.original_context_length", config["max_position_embeddings"].get<int64_t>());
  }
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
  return config;
}

}  // namespace

bool has_gguf_name(const std::filesystem::path& path) {
  std::string end = path.extension().string();
  for (char& c : end) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return end == ".gguf";
}

bool is_gguf(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  if (has_gguf_name(path)) return true;
  char magic[4] = {};  // blobs of model stores have no suffix
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

Json gguf_config(const GgufContents& contents, const GgufRopeDivisors& divisors) {
  return config_of(contents, divisors);
}

Json gguf_config(const GgufFile& file) {
  const auto read = [&file](const std::string& name) {
    std::vector<float> out;
    const auto it = file.contents().tensors.find(name);
    if (it == file.contents().tensors.end()) return out;
    constexpr int64_t kMaxHeadDim = 1 << 20;
    if (it->second.count > kMaxHeadDim) {
      fail(file.contents().source + ": " + name + " is no vector of frequencies");
    }
    out.resize(static_cast<size_t>(it->second.count));
    file.read(it->second, 0, it->second.count, out.data());
    return out;
  };
  return gguf_config(file.contents(), {read("rope_freqs.weight"), read("rope_factors_short.weight"),
                                       read("rope_factors_long.weight")});
}

}  // namespace zeroth

// The metadata that tells llama.cpp what a model is (keys of gguf-py, constants.py), and what
// llama.cpp has no words for.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "model/formats/gguf_names.h"
#include "model/formats/gguf_write.h"
#include "model/rope_table.h"

namespace zeroth {
namespace {

[[noreturn]] void cannot(const PolicyConfig& config, const std::string& what) {
  fail(std::string("a ") + to_string(config.family) + " model with " + what +
           " cannot be written as GGUF",
       "llama.cpp would refuse it or compute something else; keep it as a Hugging Face directory");
}

bool near(double x, double y) { return std::abs(x - y) <= 2e-6 * std::abs(x); }

// Of layers with a window.
const RopeConfig& local_rope(const PolicyConfig& c) {
  return c.local_rope ? *c.local_rope : c.rope;
}

// Every so many-th layer has attention, the others gated delta nets; llama.cpp knows no other order.
int attention_interval(const PolicyConfig& c) {
  const auto first = std::find(c.recurrent.begin(), c.recurrent.end(), 0);
  return static_cast<int>(first - c.recurrent.begin()) + 1;
}

// Real numbers are stored as float32; what is compared later must be what is stored.
double as_stored(double value) { return static_cast<float>(value); }

class Metadata {
 public:
  explicit Metadata(const PolicyConfig& config)
      : config_(config), prefix_(gguf_architecture_of(config.family).gguf) {}

  std::map<std::string, GgufValue> make() {
    const PolicyConfig& c = config_;
    values_["general.architecture"] = prefix_;
    values_["general.alignment"] = uint64_t{32};
    number("block_count", c.layers);
    number("context_length", c.max_position);
    number("embedding_length", c.width);
    number("feed_forward_length", c.mlp_width);
    number("vocab_size", c.vocab_size);
    number("attention.head_count", c.heads);
    real("attention.layer_norm_rms_epsilon", c.norm_eps);
    real("rope.freq_base", c.rope.theta);
    add_rope();
    if (c.is_latent()) {
      add_latent();
    } else {
      number("attention.head_count_kv", c.kv_heads);
      number("attention.key_length", c.head_dim);
      number("attention.value_length", c.head_dim);
      number("rope.dimension_count", c.rope_dim());
    }
    if (c.is_moe()) add_experts();
    if (gguf_architecture_of(c.family).period > 0) add_windows();
    if (c.delta_net) add_delta_nets();
    if (facts_of(c.family).extra_layers && !c.is_latent()) number("nextn_predict_layers", 0);
    return std::move(values_);
  }

 private:
  void number(const std::string& key, int64_t value) {
    values_[prefix_ + "." + key] = static_cast<uint64_t>(value);
  }
  void real(const std::string& key, double value) {
    values_[prefix_ + "." + key] = as_stored(value);
  }

  void add_windows() {
    const PolicyConfig& c = config_;
    const int window = *std::max_element(c.window.begin(), c.window.end());
    if (window > 0) number("attention.sliding_window", window);
    if (c.family == Family::kGemma3) real("rope.freq_base_swa", local_rope(c).theta);
  }

  void add_delta_nets() {
    const PolicyConfig& c = config_;
    number("ssm.conv_kernel", c.delta_taps);
    number("ssm.state_size", c.delta.key_dim);
    number("ssm.group_count", c.delta.key_heads);
    number("ssm.time_step_rank", c.delta.value_heads);
    number("ssm.inner_size", c.delta.values());
    number("full_attention_interval", attention_interval(c));
    if (c.grouped_delta) return;
    // Which pairs turn by time, height and width: the same to text, and llama.cpp insists on them.
    const int pairs = c.rope_dim() / 2, width = pairs / 3, height = (pairs - width) / 2;
    values_[prefix_ + ".rope.dimension_sections"] =
        std::vector<double>{static_cast<double>(pairs - width - height),
                            static_cast<double>(height), static_cast<double>(width), 0};
  }

  void add_rope() {
    const RopeConfig& rope = config_.rope;
    if (rope.type == RopeType::kLinear) {
      values_[prefix_ + ".rope.scaling.type"] = std::string("linear");
      real("rope.scaling.factor", rope.factor);
    }
    if (rope.type == RopeType::kLlama3) {
      // llama.cpp needs the divisors alone; these say how they came about.
      number("rope.scaling.original_context_length", std::llround(rope.original_max_position));
      real("rope.scaling.low_freq_factor", rope.low_freq_factor);
      real("rope.scaling.high_freq_factor", rope.high_freq_factor);
    }
    if (rope.type == RopeType::kLongrope) {
      number("rope.scaling.original_context_length", std::llround(rope.original_max_position));
      real("rope.scaling.attn_factor", rope.cos_sin_scale);
    }
    if (rope.type != RopeType::kYarn) return;
    values_[prefix_ + ".rope.scaling.type"] = std::string("yarn");
    real("rope.scaling.factor", rope.factor);
    number("rope.scaling.original_context_length", std::llround(rope.original_max_position));
    real("rope.scaling.yarn_beta_fast", rope.beta_fast);
    real("rope.scaling.yarn_beta_slow", rope.beta_slow);
    if (rope.softmax_scale == 1) return;
    // softmax_scale = (0.1 mscale_all_dim ln(factor) + 1)^2; stored: 0.1 mscale_all_dim.
    real("rope.scaling.yarn_log_multiplier",
         (std::sqrt(rope.softmax_scale) - 1) / std::log(rope.factor));
  }

  // llama.cpp caches the latent: one key head of rank + rope values.
  void add_latent() {
    const LatentConfig& latent = config_.latent;
    number("attention.head_count_kv", 1);
    number("attention.key_length", latent.kv_rank + latent.rope_dim);
    number("attention.value_length", latent.kv_rank);
    number("attention.key_length_mla", latent.nope_dim + latent.rope_dim);
    number("attention.value_length_mla", latent.v_dim);
    number("attention.kv_lora_rank", latent.kv_rank);
    number("attention.q_lora_rank", latent.q_rank);  // 0: whole queries
    number("rope.dimension_count", latent.rope_dim);
  }

  void add_experts() {
    const PolicyConfig& c = config_;
    number("expert_count", c.router.experts);
    number("expert_used_count", c.router.top_k);
    if (c.family != Family::kMixtral && c.family != Family::kOlmoe) {
      number("expert_feed_forward_length", c.expert_width);
    }
    if (c.shared_gate) number("expert_shared_feed_forward_length", c.shared_width);
    if (!c.is_latent() && c.family != Family::kGlm4Moe) return;
    number("leading_dense_block_count", c.layers - c.moe_layers());
    number("expert_shared_count", c.shared_width / c.expert_width);
    real("expert_weights_scale", c.router.scale);
    values_[prefix_ + ".expert_weights_norm"] = c.router.normalize;
    number("expert_gating_func", c.router.sigmoid ? 2 : 1);
    if (c.router.groups > c.router.top_groups) {
      number("expert_group_count", c.router.groups);
      number("expert_group_used_count", c.router.top_groups);
    }
  }

  const PolicyConfig& config_;
  std::string prefix_;
  std::map<std::string, GgufValue> values_;
};

// What llama.cpp takes for granted where some layers have a window.
void refuse_other_windows(const PolicyConfig& c, int period) {
  for (int l = 0; l < c.layers; ++l) {
    const bool windowed = c.window[l] > 0;
    if (windowed != ((l + 1) % period != 0)) {
      cannot(c, "windows on other layers than all but every " + std::to_string(period) + "th");
    }
  }
  if (facts_of(c.family).local_theta == 0) return;
  const RopeConfig& local = local_rope(c);
  const double theta = c.family == Family::kGemma3 ? 1e4 : c.rope.theta;
  if (local.type != RopeType::kDefault || local.theta != theta) {
    cannot(c, "such a rotation of layers with a window");
  }
}

void refuse_other_delta_nets(const PolicyConfig& c) {
  const int interval = attention_interval(c);
  for (int l = 0; l < c.layers; ++l) {
    if ((c.recurrent[l] != 0) != ((l + 1) % interval != 0)) {
      cannot(c, "attention on other layers than every " + std::to_string(interval) + "th");
    }
  }
  if (c.delta.key_dim != c.delta.value_dim) cannot(c, "linear_value_head_dim unlike the keys'");
}

// What our reader understands and llama.cpp does not.
void refuse_what_llama_cpp_ignores(const PolicyConfig& c) {
  const GgufArchitecture& loader = gguf_architecture_of(c.family);
  if (loader.period > 0) refuse_other_windows(c, loader.period);
  if (c.delta_net) refuse_other_delta_nets(c);
  if (c.logit_cap > 0) cannot(c, "final_logit_softcapping");
  if (c.clip_qkv > 0) cannot(c, "clip_qkv");
  if (c.sinks && !c.qkv_bias) cannot(c, "no attention biases");
  if (c.sinks && !c.rope.truncate)
    cannot(c, "YaRN whose range is not in whole dimensions (truncate false)");
  if (c.rope.type == RopeType::kLlama3 && std::string(loader.gguf) != "llama")
    cannot(c, "llama3 rotary scaling");
  if (c.is_latent() && !c.is_moe()) cannot(c, "latent attention and no experts");
  if (c.is_latent() && c.rope.type == RopeType::kYarn && c.rope.softmax_scale == 1) {
    cannot(c, "YaRN and no mscale_all_dim");
  }
  if (c.chunk_len > 0) cannot(c, "dual chunk attention");
  // Shapes that its loader takes for granted.
  if (loader.square && c.heads * c.head_dim != c.width) {
    cannot(c, "a head_dim whose heads together are not as wide as the model");
  }
  if (loader.kv_head_each && c.kv_heads != c.heads) {
    cannot(c, "fewer key/value heads than heads");
  }
  if (loader.own_head && c.tied_embeddings) cannot(c, "tied embeddings");
  if (loader.experts && !c.is_moe()) cannot(c, "only dense layers and no sparse one");
  const bool deepseek = std::string(loader.gguf) == "deepseek2";
  if (deepseek && !c.is_latent()) cannot(c, "plain attention heads (use_mla false)");
  const bool grouped = c.router.groups > c.router.top_groups;
  if (grouped && c.family == Family::kGlm4Moe) cannot(c, "groups of experts");
  if (grouped && !c.router.group_sum_top2) cannot(c, "groups of experts scored by their best one");
  if (c.is_latent() && c.qkv_bias) cannot(c, "biases of latent attention");
}

std::string rope_difference(const RopeConfig& p, const RopeConfig& q) {
  if (p.interleaved != q.interleaved) return "rope_interleave false";
  const bool scaled = p.type != RopeType::kDefault;
  if (p.type != q.type || !near(p.theta, q.theta) || (scaled && !near(p.factor, q.factor)) ||
      !near(p.cos_sin_scale, q.cos_sin_scale) || !near(p.softmax_scale, q.softmax_scale) ||
      p.truncate != q.truncate || p.original_max_position != q.original_max_position ||
      !near(p.beta_fast, q.beta_fast) || !near(p.beta_slow, q.beta_slow) ||
      p.short_factors != q.short_factors || p.long_factors != q.long_factors) {
    return "this rotary scaling";
  }
  return "";
}

// The first feature that a reader of the metadata would see otherwise; empty when all agree.
std::string difference(const PolicyConfig& a, const PolicyConfig& b) {
  const auto window = [](const PolicyConfig& c, int l) {
    return c.window[l] < c.max_position ? c.window[l] : 0;
  };
  for (int l = 0; l < a.layers; ++l) {
    if (window(a, l) != window(b, l)) return "sliding windows";
    if (a.sparse[l] != b.sparse[l]) return "dense layers among sparse ones";
  }
  if (a.head_dim != b.head_dim) return "head_dim " + std::to_string(a.head_dim);
  if (a.qkv_bias != b.qkv_bias || a.output_bias != b.output_bias) return "attention biases";
  if (a.mlp_bias != b.mlp_bias) return "mlp_bias";
  if (a.qk_norm != b.qk_norm) return "query and key norms";
  if (a.rope_dim() != b.rope_dim()) return "partial_rotary_factor";
  if (a.rotated != b.rotated) return "these layers without rotary positions";
  if (a.gate != b.gate) return "this activation function";
  if (!near(a.attention_scale(), b.attention_scale())) return "query_pre_attn_scalar";
  const std::string rope = rope_difference(a.rope, b.rope);
  if (!rope.empty()) return rope;
  if (a.moe_layers() == 0) return "";
  const kernels::RouterConfig &r = a.router, &s = b.router;
  if (r.normalize != s.normalize) return r.normalize ? "norm_topk_prob" : "norm_topk_prob false";
  if (r.sigmoid != s.sigmoid || a.selection_bias != b.selection_bias) return "this router";
  if (!near(r.scale, s.scale)) return "routed_scaling_factor";
  if (a.expert_width != b.expert_width || a.shared_width != b.shared_width ||
      a.shared_gate != b.shared_gate) {
    return "these shared experts";
  }
  return "";
}

}  // namespace

GgufRopeDivisors gguf_rope_divisors(const PolicyConfig& config) {
  if (config.rope.type == RopeType::kLongrope) {
    const auto floats = [](const std::vector<double>& of) {
      return std::vector<float>(of.begin(), of.end());
    };
    return {{}, floats(config.rope.short_factors), floats(config.rope.long_factors)};
  }
  if (config.rope.type != RopeType::kLlama3) return {};
  RopeConfig plain = config.rope;
  plain.type = RopeType::kDefault;
  const std::vector<float> from = rope_frequencies(plain, config.rope_dim());
  std::vector<float> out = rope_frequencies(config.rope, config.rope_dim());
  for (size_t i = 0; i < out.size(); ++i) out[i] = from[i] / out[i];
  return {std::move(out), {}, {}};
}

std::map<std::string, GgufValue> gguf_metadata(const PolicyConfig& config) {
  refuse_what_llama_cpp_ignores(config);
  GgufContents contents;
  contents.source = "GGUF";
  contents.metadata = Metadata(config).make();
  // Shapes that the reader looks at.
  contents.tensors["token_embd.weight"].shape = {config.vocab_size, config.width};
  if (!config.tied_embeddings) contents.tensors["output.weight"];
  if (config.qkv_bias) contents.tensors["blk.0.attn_q.bias"];
  if (config.qk_norm == QkNorm::kPerHead) contents.tensors["blk.0.attn_q_norm.weight"];
  if (config.mlp_bias) contents.tensors["blk.0.ffn_gate.bias"];
  const Json read = gguf_config(contents, gguf_rope_divisors(config));
  const std::string what = difference(config, PolicyConfig::from_json(read, "GGUF"));
  if (!what.empty()) cannot(config, what);
  return std::move(contents.metadata);
}

}  // namespace zeroth

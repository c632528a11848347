#include "model/formats/upcycle.h"

#include <cmath>

#include "core/error.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "model/image_codes.h"
#include "model/layout.h"

namespace zeroth {
namespace {

// Width of Qwen2-MoE's shared expert, which the dense model has not: its down projection is zero.
constexpr int kSharedWidth = 16;

// The family whose layers are those of `dense` but for their feed-forward blocks.
Family sparse_family(const PolicyConfig& dense) {
  if (dense.family == Family::kLlama) return Family::kMixtral;
  if (dense.family == Family::kQwen2) return Family::kQwen2Moe;
  if (dense.family == Family::kQwen3) return Family::kQwen3Moe;
  fail_usage(std::string("a ") + to_string(dense.family) + " model cannot be upcycled",
             "give a dense model: llama, qwen2 or qwen3");
}

Json sparse_config(const PolicyConfig& dense, const UpcycleOptions& options) {
  const FamilyNames& names = names_of(sparse_family(dense));
  Json json = dense.source;
  json["architectures"] = {names.architecture};
  json["model_type"] = names.model_type;
  // Families differ in what an absent key means, so the ones that matter are written out.
  json["num_key_value_heads"] = dense.kv_heads;
  json["head_dim"] = dense.head_dim;
  json["rms_norm_eps"] = dense.source.value("rms_norm_eps", static_cast<double>(dense.norm_eps));
  json["max_position_embeddings"] = dense.max_position;
  json["tie_word_embeddings"] = dense.tied_embeddings;
  if (json.contains("rope_parameters") && json["rope_parameters"].is_object()) {
    json["rope_parameters"]["rope_theta"] = dense.rope.theta;
  } else {
    json["rope_theta"] = dense.rope.theta;
  }
  json[dense.family == Family::kLlama ? "num_local_experts" : "num_experts"] = options.experts;
  json["num_experts_per_tok"] = options.top_k;
  if (dense.family == Family::kLlama) {
    json["sliding_window"] = nullptr;
    return json;
  }
  json["moe_intermediate_size"] = dense.mlp_width;
  json["norm_topk_prob"] = true;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = Json::array();
  if (dense.family == Family::kQwen2) {
    json["shared_expert_intermediate_size"] = kSharedWidth;
    json["qkv_bias"] = true;
  }
  return json;
}

[[noreturn]] void lacks(const std::string& what) {
  fail_usage("the sparse family has no " + what, "this model cannot be upcycled");
}

// What the dense model computes beside its feed-forward blocks must be there.
void check_same_attention(const PolicyConfig& a, const PolicyConfig& b) {
  if (a.mlp_bias) lacks("biases of feed-forward blocks (mlp_bias)");
  if (a.qkv_bias != b.qkv_bias || a.output_bias != b.output_bias) lacks("attention biases");
  if (a.window != b.window) lacks("such sliding windows");
  if (a.head_dim != b.head_dim || a.norm_eps != b.norm_eps || a.qk_norm != b.qk_norm) {
    lacks("such attention heads");
  }
}

double deviation(std::span<const float> values) {
  double sum = 0, squares = 0;
  for (const float v : values) {
    sum += v;
    squares += double{v} * v;
  }
  const double n = static_cast<double>(values.size()), mean = sum / n;
  return std::sqrt(std::max(0.0, squares / n - mean * mean));
}

// The name under which the dense model keeps what tensor `name` of the sparse one starts from;
// empty for what is new. "P.mlp.experts.3.up_proj.weight" and
// "P.block_sparse_moe.experts.3.w3.weight": "P.mlp.up_proj.weight".
std::string origin_of(const ParameterInfo& info) {
  const std::string& name = info.name;
  if (info.role != Role::kExpert) {
    const bool fresh =
        info.role == Role::kShared || info.role == Role::kSharedGate || info.role == Role::kRouter;
    return fresh ? "" : name;
  }
  const size_t at = name.find(".experts.");
  const std::string layer = name.substr(0, name.rfind('.', at - 1));
  std::string part = name.substr(name.find('.', at + 9) + 1);
  if (part == "w1.weight") part = "gate_proj.weight";
  if (part == "w3.weight") part = "up_proj.weight";
  if (part == "w2.weight") part = "down_proj.weight";
  return layer + ".mlp." + part;
}

void add_normal(std::span<float> values, double scale, uint64_t seed, size_t stream) {
  Rng rng(seed, static_cast<uint32_t>(stream));
  for (float& v : values) v += static_cast<float>(scale * rng.normal());
}

}  // namespace

ModelValues upcycle(const ModelValues& dense, const UpcycleOptions& options) {
  if (options.top_k > options.experts) {
    fail_usage("top-k " + std::to_string(options.top_k) + " of " + std::to_string(options.experts) +
                   " experts",
               "choose at most as many as there are");
  }
  refuse_image_codes(dense.config, "upcycling");
  const PolicyConfig config =
      PolicyConfig::from_json(sparse_config(dense.config, options), "the upcycled config");
  check_same_attention(dense.config, config);
  ModelValues sparse{config, Parameters(make_layout(config).infos)};
  const std::vector<ParameterInfo>& infos = sparse.parameters.infos();
  parallel_for(static_cast<int64_t>(infos.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const std::string& name = infos[i].name;
      const std::span<float> out = sparse.parameters.view(infos[i]);
      const std::string origin = origin_of(infos[i]);
      if (origin.empty()) {
        const bool router = infos[i].role == Role::kRouter;
        const bool silent = name.ends_with("shared_expert.down_proj.weight");
        const double scale = router ? options.router_std : config.initializer_range;
        if (!silent) add_normal(out, scale, options.seed, i);
        continue;
      }
      const auto from = dense.parameters.view(dense.parameters.info(origin));
      std::copy(from.begin(), from.end(), out.begin());
      if (options.noise > 0 && origin != name) {
        add_normal(out, options.noise * deviation(from), options.seed, i);
      }
    }
  });
  return sparse;
}

}  // namespace zeroth

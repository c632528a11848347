// Which layers are sparse, their experts and how the router chooses, as config.json names them.
#include <optional>

#include "model/config_parts.h"

namespace zeroth {
namespace {

// Families whose experts have DeepSeek's keys.
bool as_deepseek(Family family) {
  return family == Family::kDeepseekV2 || family == Family::kDeepseekV3 ||
         family == Family::kGlm4Moe;
}

void read_sparse_layers(const ConfigReader& in, PolicyConfig& c) {
  if (as_deepseek(c.family)) {
    const int fallback = c.family == Family::kDeepseekV2 ? 0 : c.family == Family::kGlm4Moe ? 1 : 3;
    const int dense = in.integer({"first_k_dense_replace"}, fallback, 0, kMaxLayers);
    if (in.integer({"moe_layer_freq"}, 1, 0, kMaxLayers) != 1) {
      in.bad("moe_layer_freq", "is not 1", "only 1 is known of published models");
    }
    for (int l = dense; l < c.layers; ++l) c.sparse[l] = 1;
    return;
  }
  if (c.family != Family::kQwen2Moe && c.family != Family::kQwen3Moe &&
      c.family != Family::kQwen3Next) {
    c.sparse.assign(c.layers, 1);
    return;
  }
  // Qwen3-Next without experts is dense.
  if (c.family == Family::kQwen3Next && in.integer({"num_experts"}, 512, 0, kMaxExperts) == 0)
    return;
  const int step = in.integer({"decoder_sparse_step"}, 1, 1, kMaxLayers);
  for (int l = 0; l < c.layers; ++l) c.sparse[l] = (l + 1) % step == 0;
  const Json* dense = in.find({"mlp_only_layers"});
  if (!dense) return;
  if (!dense->is_array())
    in.bad("mlp_only_layers", "is " + ConfigReader::shown(*dense), "give a list");
  for (const Json& layer : *dense) {
    if (!layer.is_number_integer() || layer < 0 || layer >= c.layers) {
      in.bad("mlp_only_layers", "contains " + ConfigReader::shown(layer),
             "list layer numbers below num_hidden_layers");
    }
    c.sparse[layer.get<size_t>()] = 0;
  }
}

// DeepseekV3Config has groups where the file does not speak of them.
void read_groups(const ConfigReader& in, Family family, kernels::RouterConfig& router) {
  const auto absent = [&](const char* key, int value) {
    return family == Family::kDeepseekV3 && !in.is_null(key) ? value : 1;
  };
  router.groups = in.integer({"n_group"}, absent("n_group", 8), 1, kMaxExperts);
  router.top_groups = in.integer({"topk_group"}, absent("topk_group", 4), 1, kMaxExperts);
  if (router.experts % router.groups != 0 || router.top_groups > router.groups) {
    in.bad("n_group",
           "is " + std::to_string(router.groups) + " with topk_group " +
               std::to_string(router.top_groups) + " and " + std::to_string(router.experts) +
               " experts",
           "groups must divide the experts, and topk_group cannot be above n_group");
  }
  if (router.top_k > router.experts / router.groups * router.top_groups) {
    in.bad("num_experts_per_tok", "is more than the kept groups hold", "lower it");
  }
}

// DeepSeek-V3 chooses by biased sigmoid scores (noaux_tc); so does the largest DeepSeek-VL2, whose
// architecture is V2's. GLM-4-MoE has V3's router.
void read_deepseek_router(const ConfigReader& in, PolicyConfig& c) {
  kernels::RouterConfig& router = c.router;
  const bool v3 = c.family != Family::kDeepseekV2;
  const double scale = c.family == Family::kDeepseekV3 ? 2.5 : 1;
  const std::string method = in.text({"topk_method"}, v3 ? "noaux_tc" : "greedy");
  const bool biased = method == "noaux_tc";
  const std::string wanted = biased ? "sigmoid" : "softmax";
  const std::string scoring = in.text({"scoring_func"}, wanted);
  if (scoring != wanted) {
    in.bad("scoring_func", "is '" + scoring + "'",
           "topk_method " + method + " scores by " + wanted);
  }
  router.scale = static_cast<float>(in.real({"routed_scaling_factor"}, scale, 0, 1e6));
  if (biased) {
    router.sigmoid = router.group_sum_top2 = c.selection_bias = true;
    router.normalize = in.boolean("norm_topk_prob", v3);
    read_groups(in, c.family, router);
    if (router.experts / router.groups < 2) {
      in.bad("n_group", "leaves one expert a group", "a group is scored by its best two experts");
    }
  } else if (v3) {
    in.bad("topk_method", "is '" + method + "'", "use noaux_tc");
  } else if (method == "group_limited_greedy") {
    read_groups(in, c.family, router);
  } else if (method != "greedy") {
    in.bad("topk_method", "is '" + method + "'", "use greedy, group_limited_greedy or noaux_tc");
  }
  // norm_topk_prob of DeepSeek-V2's softmax is left unread, as transformers does: published files
  // say false, and the two reference implementations disagree about true.
}

}  // namespace

void read_experts(const ConfigReader& in, PolicyConfig& c) {
  const bool deepseek = as_deepseek(c.family), gpt_oss = c.family == Family::kGptOss;
  // What GptOssConfig says of an absent key; elsewhere it has to be there.
  const auto absent = [&](int value) { return gpt_oss ? std::optional<int>(value) : std::nullopt; };
  read_sparse_layers(in, c);
  if (c.moe_layers() == 0) return;
  c.router.experts =
      deepseek ? in.integer({"n_routed_experts", "num_local_experts", "num_experts"}, std::nullopt,
                            1, kMaxExperts)
               : in.integer({"num_local_experts", "num_experts"}, absent(128), 1, kMaxExperts);
  c.router.top_k = in.integer({"num_experts_per_tok"}, absent(4), 1, c.router.experts);
  const bool own_width = c.family != Family::kMixtral && c.family != Family::kOlmoe && !gpt_oss;
  c.expert_width =
      own_width ? in.integer({"moe_intermediate_size"}, std::nullopt, 1, kMaxSize) : c.mlp_width;
  // Softmax over the chosen logits is that over all, divided by the chosen ones' sum.
  c.router.normalize = c.family == Family::kMixtral || c.family == Family::kQwen35Moe || gpt_oss ||
                       in.boolean("norm_topk_prob", c.family == Family::kQwen3Next);
  if (c.family == Family::kQwen2Moe || c.delta_net) {
    c.shared_width = in.integer({"shared_expert_intermediate_size"}, std::nullopt, 1, kMaxSize);
    c.shared_gate = true;
  }
  if (deepseek) {
    c.router.normalize = false;
    const int absent_shared = in.is_null("n_shared_experts")    ? 0
                              : c.family == Family::kDeepseekV2 ? 2
                                                                : 1;
    const int shared = in.integer({"n_shared_experts"}, absent_shared, 0, 1024);
    if (int64_t{shared} * c.expert_width > kMaxSize) {
      in.bad("n_shared_experts", "is " + std::to_string(shared), "lower it");
    }
    c.shared_width = shared * c.expert_width;
    read_deepseek_router(in, c);
  }
  c.aux_coef = in.real({"router_aux_loss_coef"}, 0, 0, 1e6);
}

}  // namespace zeroth

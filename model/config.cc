#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

#include "model/config_reader.h"
#include "model/multimodal.h"

namespace zeroth {
namespace {

// Bounds that keep every product of two sizes far from overflow.
constexpr int kMaxSize = 1 << 20;
constexpr int kMaxVocab = 1 << 24;
constexpr int kMaxLayers = 4096;
constexpr int kMaxExperts = 4096;

// The class that the file names first; empty: none.
std::string read_architecture(const ConfigReader& in) {
  const Json* list = in.find({"architectures"});
  if (list == nullptr || (list->is_array() && list->empty())) return "";
  if (!list->is_array() || !list->front().is_string()) {
    in.bad("architectures", "is " + ConfigReader::shown(*list), "give a list with one name");
  }
  return list->front().get<std::string>();
}

// As transformers: model_type decides. Without one the class does, and a class whose model_type is
// unknown is taken for a derived model that needs the change said.
Family read_family(const ConfigReader& in, std::vector<std::string>& notes) {
  const std::string architecture = read_architecture(in);
  const std::string model_type = in.text({"model_type"}, "");
  std::string known;
  const FamilyNames* by_class = nullptr;
  const FamilyNames* by_type = nullptr;
  for (const Family family : known_families()) {
    const FamilyNames& name = names_of(family);
    known += std::string(known.empty() ? "" : ", ") + name.architecture;
    if (architecture == name.architecture) by_class = &name;
    if (model_type == name.model_type) by_type = &name;
  }
  if (by_class != nullptr && by_type == nullptr && !model_type.empty()) {
    in.bad("model_type", "is '" + model_type + "' beside architecture " + architecture,
           std::string("set model_type to '") + by_class->model_type + "'");
  }
  if (by_type != nullptr && by_class != by_type && !architecture.empty()) {
    notes.push_back(
        "config.json names the class " + ConfigReader::shown(architecture) +
        " beside model_type '" + model_type +
        "': the model_type is what is built, with a language head, as transformers does");
  }
  if (by_type != nullptr) return by_type->family;
  if (by_class != nullptr) return by_class->family;
  if (!architecture.empty()) {
    in.bad("architectures",
           "names " + ConfigReader::shown(architecture) + ", which is not implemented",
           "use one of " + known);
  }
  in.bad("model_type", model_type.empty() ? "is missing" : "is " + ConfigReader::shown(model_type),
         "use a model of one of the architectures " + known);
}

// 0.1 mscale ln(scale) + 1 (YaRN, equation 22, with DeepSeek's mscale).
double yarn_mscale(double scale, double mscale) {
  return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

void read_yarn(const ConfigReader& in, int max_position, RopeConfig& rope) {
  rope.original_max_position = in.real({"original_max_position_embeddings"}, max_position, 1, 1e9);
  rope.factor = in.real({"factor"}, max_position / rope.original_max_position, 1e-3, 1e6);
  rope.beta_fast = in.real({"beta_fast"}, 32, 1e-6, 1e6);
  rope.beta_slow = in.real({"beta_slow"}, 1, 1e-6, 1e6);
  rope.truncate = in.boolean("truncate", true);
  const double mscale = in.real({"mscale"}, 0, 0, 100);
  const double mscale_all_dim = in.real({"mscale_all_dim"}, 0, 0, 100);
  const double derived =
      mscale > 0 && mscale_all_dim > 0
          ? yarn_mscale(rope.factor, mscale) / yarn_mscale(rope.factor, mscale_all_dim)
          : yarn_mscale(rope.factor, 1);
  rope.cos_sin_scale = in.real({"attention_factor"}, derived, 1e-3, 1e3);
}

// `rope_parameters` (new) or `rope_scaling` (old), refused where both say something and not the
// same: which one a program takes depends on its version.
ConfigReader rope_object(const ConfigReader& top) {
  const ConfigReader parameters = top.object("rope_parameters");
  const ConfigReader scaling = top.object("rope_scaling");
  if (!top.has("rope_parameters")) return scaling;
  for (const auto& [key, value] : scaling.items()) {
    const Json* other = parameters.find({key.c_str()});
    if (value.is_null() || (other != nullptr && *other == value)) continue;
    const bool type_of_other = (key == "type" || key == "rope_type") &&
                               value == parameters.text({"rope_type", "type"}, "default");
    if (type_of_other) continue;
    top.bad("rope_scaling",
            "is " + scaling.shown_all() + " beside rope_parameters " + parameters.shown_all(),
            "keep one of them: write what is meant into rope_parameters, rope_theta with it");
  }
  return parameters;
}

std::string read_rope_type(const ConfigReader& in) {
  for (const auto& [key, value] : in.items()) {
    if (value.is_object()) {
      in.bad(key, "is " + ConfigReader::shown(value),
             "one set of rope parameters for all layers is read, not one for each kind of layer");
    }
  }
  if (in.is_null("type") && !in.has("rope_type") && in.has("factor")) {
    in.bad("type", "is null beside a factor",
           "name the scaling: linear, llama3 or yarn; or remove the object");
  }
  return in.text({"rope_type", "type"}, "default");
}

double read_rope_theta(const ConfigReader& top, const ConfigReader& in, double fallback) {
  const double outer = top.real({"rope_theta"}, fallback, 1, 1e12);
  const double theta = in.real({"rope_theta"}, outer, 1, 1e12);
  if (top.has("rope_theta") && theta != outer) {
    in.bad("rope_theta", "is " + Json(theta).dump() + " and " + Json(outer).dump() + " outside",
           "make them equal, or keep one");
  }
  return theta;
}

void read_llama3(const ConfigReader& in, int max_position, RopeConfig& rope) {
  rope.factor = in.real({"factor"}, std::nullopt, 1, 1e6);
  rope.low_freq_factor = in.real({"low_freq_factor"}, std::nullopt, 1e-6, 1e6);
  rope.high_freq_factor = in.real({"high_freq_factor"}, std::nullopt, 1e-6, 1e6);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    in.bad("high_freq_factor", "is not above low_freq_factor", "llama3 scaling needs it larger");
  }
  rope.original_max_position = in.real({"original_max_position_embeddings"}, max_position, 1, 1e9);
}

RopeConfig read_rope(const ConfigReader& top, PolicyConfig& c, double default_theta) {
  RopeConfig rope;
  const ConfigReader in = rope_object(top);
  const std::string type = read_rope_type(in);
  rope.theta = read_rope_theta(top, in, default_theta);
  const double rotary =
      in.real({"partial_rotary_factor"}, top.real({"partial_rotary_factor"}, 1, 0, 1), 0, 1);
  if (rotary != 1) {
    in.bad("partial_rotary_factor", "is " + Json(rotary).dump(),
           "only whole heads are rotated in the supported families: use 1");
  }
  if (type == "default") {
    rope.type = RopeType::kDefault;
  } else if (type == "linear") {
    rope.type = RopeType::kLinear;
    rope.factor = in.real({"factor"}, std::nullopt, 1e-3, 1e6);
  } else if (type == "llama3") {
    rope.type = RopeType::kLlama3;
    read_llama3(in, c.max_position, rope);
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    read_yarn(in, c.max_position, rope);
    if (in.has("attn_factor")) {
      c.notes.push_back(
          "attn_factor of the YaRN scaling is not read, as in transformers (which "
          "reads attention_factor); vLLM multiplies by it");
    }
  } else if (type == "dynamic" || type == "longrope") {
    in.bad("rope_type", "is '" + type + "'",
           "this scaling changes the rotation of earlier tokens as a sequence grows, so a log-prob "
           "would depend on what follows; use default, linear, llama3 or yarn");
  } else {
    in.bad("rope_type", "is " + ConfigReader::shown(type), "use default, linear, llama3 or yarn");
  }
  // DeepSeek raises the softmax temperature with the stretch, whatever the type of scaling.
  const double all_dim = in.real({"mscale_all_dim"}, 0, 0, 100);
  if (c.is_latent() && type != "default" && all_dim > 0) {
    const double mscale = yarn_mscale(rope.factor, all_dim);
    rope.softmax_scale = mscale * mscale;
  }
  return rope;
}

// YaRN reaches further than max_position_embeddings where that stays at the length of pre-training,
// as the model cards of Qwen have it.
void widen_context(PolicyConfig& c) {
  if (c.rope.type != RopeType::kYarn) return;
  const double reach = c.rope.factor * c.rope.original_max_position;
  const int limit = static_cast<int>(std::min(reach, double{1 << 30}));
  if (limit <= c.max_position) return;
  c.notes.push_back("max_position_embeddings is " + std::to_string(c.max_position) +
                    "; the rope scaling reaches " + std::to_string(limit) +
                    " positions, which is taken as the context");
  c.max_position = limit;
}

void read_attention(const ConfigReader& in, PolicyConfig& c) {
  const FamilyFacts& facts = facts_of(c.family);
  const bool biased = in.boolean("attention_bias", false);
  switch (facts.biases) {
    case Biases::kByKey:
      c.qkv_bias = c.output_bias = biased;
      break;
    case Biases::kNone:
      break;
    case Biases::kQkv:
      c.qkv_bias = true;
      break;
    case Biases::kQkvByKey:
      c.qkv_bias = in.boolean("qkv_bias", true);
      break;
  }
  const int default_head = facts.head_dim > 0 ? facts.head_dim : std::max(1, c.width / c.heads);
  c.head_dim = in.integer({"head_dim"}, default_head, 1, kMaxSize);
  if (c.family == Family::kOlmoe) {
    c.clip_qkv = static_cast<float>(in.real({"clip_qkv"}, 0, 0, 1e9));
    // Its norms run over hidden_size, which leaves no other head size.
    c.head_dim = c.width / c.heads;
  }
  if (!in.has("head_dim") && c.width % c.heads != 0 && facts.head_dim == 0) {
    in.bad("hidden_size",
           "is " + std::to_string(c.width) + ", not a multiple of the " + std::to_string(c.heads) +
               " heads",
           "make it a multiple, or give head_dim");
  }
  if (c.head_dim % 2 != 0) in.bad("head_dim", "is odd", "rotary heads need an even size");
}

void read_latent_attention(const ConfigReader& in, PolicyConfig& c) {
  c.latent.q_rank = in.integer({"q_lora_rank"}, 0, 0, kMaxSize);
  c.latent.kv_rank = in.integer({"kv_lora_rank"}, std::nullopt, 1, kMaxSize);
  c.latent.nope_dim = in.integer({"qk_nope_head_dim"}, std::nullopt, 1, kMaxSize);
  c.latent.rope_dim = in.integer({"qk_rope_head_dim"}, std::nullopt, 2, kMaxSize);
  c.latent.v_dim = in.integer({"v_head_dim"}, std::nullopt, 1, kMaxSize);
  if (c.latent.rope_dim % 2 != 0) in.bad("qk_rope_head_dim", "is odd", "give an even number");
  if (c.kv_heads != c.heads) {
    in.bad("num_key_value_heads", "differs from num_attention_heads",
           "latent attention has one key head per query head: make them equal");
  }
  c.head_dim = c.latent.nope_dim + c.latent.rope_dim;
  c.qkv_bias = c.output_bias = in.boolean("attention_bias", false);
}

// One kind of attention per layer; empty: the file does not say.
std::vector<char> read_layer_types(const ConfigReader& in, int layers) {
  const Json* types = in.find({"layer_types"});
  if (types == nullptr) return {};
  if (!types->is_array() || types->size() != static_cast<size_t>(layers)) {
    in.bad("layer_types", "is " + ConfigReader::shown(*types), "list one type per layer");
  }
  std::vector<char> sliding;
  for (const Json& type : *types) {
    if (type != "full_attention" && type != "sliding_attention") {
      in.bad("layer_types", "contains " + ConfigReader::shown(type),
             "full_attention and sliding_attention are read");
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

// The window of the layers that have one; 0: none has.
int read_window(const ConfigReader& in, const FamilyFacts& facts) {
  if (facts.windows == Windows::kNone) return 0;
  if (facts.windows == Windows::kByFlag && !in.boolean("use_sliding_window", false)) return 0;
  // An absent window is the class's default, null is none: the one key where the two differ.
  const int fallback = in.is_null("sliding_window") ? 0 : facts.window;
  return in.integer({"sliding_window"}, fallback, 0, 1 << 30);
}

void read_windows(const ConfigReader& in, PolicyConfig& c) {
  c.window.assign(c.layers, 0);
  const std::vector<char> types = read_layer_types(in, c.layers);
  const int window = read_window(in, facts_of(c.family));
  const bool any = std::find(types.begin(), types.end(), 1) != types.end();
  if (any && window == 0) {
    in.bad("layer_types", "names sliding_attention, and no window is in use",
           "give sliding_window (with use_sliding_window where the family has it), or write "
           "full_attention");
  }
  if (!facts_of(c.family).window_by_layer) {
    c.window.assign(c.layers, window);
    if (window > 0 && std::find(types.begin(), types.end(), 0) != types.end()) {
      c.notes.push_back("layer_types names full_attention beside sliding_window " +
                        std::to_string(window) +
                        ": all layers have the window, as in transformers");
    }
    return;
  }
  const int first = in.integer({"max_window_layers"}, 28, 0, kMaxLayers);
  for (int l = 0; l < c.layers; ++l) {
    const bool sliding = !types.empty()                  ? types[l] != 0
                         : c.family == Family::kQwen2Moe ? l % 2 == 0 && l < first
                                                         : l >= first;
    c.window[l] = sliding ? window : 0;
  }
}

// Qwen2.5-1M: {"chunk_size", "local_size", "original_max_position_embeddings"}.
void read_dual_chunks(const ConfigReader& top, PolicyConfig& c) {
  if (!top.has("dual_chunk_attention_config")) return;
  const ConfigReader in = top.object("dual_chunk_attention_config");
  c.chunk_size = in.integer({"chunk_size"}, 8192, 1, 1 << 30);
  const int local = in.integer({"local_size"}, 1024, 0, c.chunk_size - 1);
  c.chunk_len = c.chunk_size - local;
  if (c.chunk_len % kernels::kPageTokens != 0) {
    in.bad("chunk_size",
           "is " + std::to_string(c.chunk_size) + " with local_size " + std::to_string(local),
           "their difference must be a multiple of " + std::to_string(kernels::kPageTokens));
  }
  const bool windowed = std::any_of(c.window.begin(), c.window.end(), [](int w) { return w > 0; });
  if (windowed || c.is_latent()) {
    top.bad("dual_chunk_attention_config",
            std::string("stands beside ") + (windowed ? "sliding windows" : "latent attention"),
            "remove one of them");
  }
}

void read_sparse_layers(const ConfigReader& in, PolicyConfig& c) {
  if (c.family == Family::kDeepseekV2 || c.family == Family::kDeepseekV3) {
    const int fallback = c.family == Family::kDeepseekV2 ? 0 : 3;
    const int dense = in.integer({"first_k_dense_replace"}, fallback, 0, kMaxLayers);
    if (in.integer({"moe_layer_freq"}, 1, 0, kMaxLayers) != 1) {
      in.bad("moe_layer_freq", "is not 1", "only 1 is known of published models");
    }
    for (int l = dense; l < c.layers; ++l) c.sparse[l] = 1;
    return;
  }
  if (c.family != Family::kQwen2Moe && c.family != Family::kQwen3Moe) {
    c.sparse.assign(c.layers, 1);
    return;
  }
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

void read_groups(const ConfigReader& in, kernels::RouterConfig& router) {
  router.groups = in.integer({"n_group"}, 1, 1, kMaxExperts);
  router.top_groups = in.integer({"topk_group"}, 1, 1, kMaxExperts);
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
// architecture is V2's.
void read_deepseek_router(const ConfigReader& in, PolicyConfig& c) {
  kernels::RouterConfig& router = c.router;
  const bool v3 = c.family == Family::kDeepseekV3;
  const std::string method = in.text({"topk_method"}, v3 ? "noaux_tc" : "greedy");
  const bool biased = method == "noaux_tc";
  const std::string wanted = biased ? "sigmoid" : "softmax";
  const std::string scoring = in.text({"scoring_func"}, wanted);
  if (scoring != wanted) {
    in.bad("scoring_func", "is '" + scoring + "'",
           "topk_method " + method + " scores by " + wanted);
  }
  router.scale = static_cast<float>(in.real({"routed_scaling_factor"}, v3 ? 2.5 : 1, 0, 1e6));
  if (biased) {
    router.sigmoid = router.group_sum_top2 = c.selection_bias = true;
    router.normalize = in.boolean("norm_topk_prob", v3);
    read_groups(in, router);
    if (router.experts / router.groups < 2) {
      in.bad("n_group", "leaves one expert a group", "a group is scored by its best two experts");
    }
  } else if (v3) {
    in.bad("topk_method", "is '" + method + "'", "use noaux_tc");
  } else if (method == "group_limited_greedy") {
    read_groups(in, router);
  } else if (method != "greedy") {
    in.bad("topk_method", "is '" + method + "'", "use greedy, group_limited_greedy or noaux_tc");
  }
  // norm_topk_prob of DeepSeek-V2's softmax is left unread, as transformers does: published files
  // say false, and the two reference implementations disagree about true.
}

void read_experts(const ConfigReader& in, PolicyConfig& c) {
  const bool deepseek = c.family == Family::kDeepseekV2 || c.family == Family::kDeepseekV3;
  read_sparse_layers(in, c);
  if (c.moe_layers() == 0) return;
  c.router.experts =
      deepseek ? in.integer({"n_routed_experts", "num_local_experts", "num_experts"}, std::nullopt,
                            1, kMaxExperts)
               : in.integer({"num_local_experts", "num_experts"}, std::nullopt, 1, kMaxExperts);
  c.router.top_k = in.integer({"num_experts_per_tok"}, std::nullopt, 1, c.router.experts);
  const bool own_width = c.family != Family::kMixtral && c.family != Family::kOlmoe;
  c.expert_width =
      own_width ? in.integer({"moe_intermediate_size"}, std::nullopt, 1, kMaxSize) : c.mlp_width;
  c.router.normalize = c.family == Family::kMixtral || in.boolean("norm_topk_prob", false);
  if (c.family == Family::kQwen2Moe) {
    c.shared_width = in.integer({"shared_expert_intermediate_size"}, std::nullopt, 1, kMaxSize);
    c.shared_gate = true;
  }
  if (deepseek) {
    c.router.normalize = false;
    const int shared = in.integer({"n_shared_experts"}, 0, 0, 1024);
    if (int64_t{shared} * c.expert_width > kMaxSize) {
      in.bad("n_shared_experts", "is " + std::to_string(shared), "lower it");
    }
    c.shared_width = shared * c.expert_width;
    read_deepseek_router(in, c);
  }
  c.aux_coef = in.real({"router_aux_loss_coef"}, 0, 0, 1e6);
}

void read_quantization(const ConfigReader& top, PolicyConfig& c) {
  if (!top.has("quantization_config")) return;
  const ConfigReader in = top.object("quantization_config");
  const std::string method = in.text({"quant_method"}, "");
  if (method != "fp8") {
    in.bad("quant_method", "is '" + method + "'",
           "only block-scaled fp8 is read: convert the checkpoint to bfloat16 or float32");
  }
  c.fp8_block = 128;
  const Json* block = in.find({"weight_block_size"});
  if (!block) return;
  if (!block->is_array() || block->size() != 2 || (*block)[0] != (*block)[1] ||
      !(*block)[0].is_number_integer() || (*block)[0] < 1 || (*block)[0] > kMaxSize) {
    in.bad("weight_block_size", "is " + ConfigReader::shown(*block),
           "square blocks such as [128, 128]");
  }
  c.fp8_block = (*block)[0].get<int>();
}

}  // namespace

PolicyConfig PolicyConfig::from_json(const Json& json, const std::string& source_name) {
  if (!json.is_object()) {
    fail_usage(source_name + " is not a JSON object", "give a Hugging Face config.json");
  }
  if (const auto part = language_part(json, source_name)) {
    PolicyConfig c = from_json(part->config, source_name + ": language_config");
    c.prefix = part->prefix;
    return c;
  }
  const ConfigReader in(json, source_name);
  PolicyConfig c;
  c.source = json;
  c.family = read_family(in, c.notes);
  const FamilyFacts& facts = facts_of(c.family);
  static_cast<FamilyFeatures&>(c) = facts.features;
  const bool deepseek = c.family == Family::kDeepseekV2 || c.family == Family::kDeepseekV3;
  c.vocab_size = in.integer({"vocab_size"}, std::nullopt, 1, kMaxVocab);
  c.width = in.integer({"hidden_size"}, std::nullopt, 1, kMaxSize);
  c.layers = in.integer({"num_hidden_layers"}, std::nullopt, 1, kMaxLayers);
  c.heads = in.integer({"num_attention_heads"}, std::nullopt, 1, kMaxSize);
  c.kv_heads = in.integer({"num_key_value_heads"}, c.heads, 1, kMaxSize);
  if (c.heads % c.kv_heads != 0) {
    in.bad("num_key_value_heads", "is " + std::to_string(c.kv_heads),
           "it must divide the " + std::to_string(c.heads) + " attention heads");
  }
  c.mlp_width = in.integer({"intermediate_size"}, std::nullopt, 1, kMaxSize);
  c.max_position = in.integer({"max_position_embeddings"}, facts.context, 1, 1 << 30);
  c.norm_eps = static_cast<float>(in.real({"rms_norm_eps"}, facts.eps, 0, 1));
  c.initializer_range = in.real({"initializer_range"}, 0.02, 0, 100);
  c.tied_embeddings = in.boolean("tie_word_embeddings", false);
  c.mlp_bias = facts.mlp_bias && in.boolean("mlp_bias", false);
  const std::string activation = in.text({"hidden_act"}, "silu");
  if (activation != "silu" && activation != "swish") {
    in.bad("hidden_act", "is '" + activation + "'", "only silu is supported");
  }
  // DeepSeek-VL2's small models have plain heads.
  if (deepseek && in.boolean("use_mla", true)) {
    read_latent_attention(in, c);
  } else {
    read_attention(in, c);
  }
  c.rope = read_rope(in, c, facts.theta);
  widen_context(c);
  c.rope.interleaved =
      c.is_latent() && (c.family == Family::kDeepseekV2 || in.boolean("rope_interleave", true));
  read_windows(in, c);
  read_dual_chunks(in, c);
  c.sparse.assign(c.layers, 0);
  if (facts.sparse) read_experts(in, c);
  if (c.family == Family::kDeepseekV3) {
    c.extra_layers = in.integer({"num_nextn_predict_layers", "num_mtp_layers"}, 1, 0, 64);
  }
  read_quantization(in, c);
  return c;
}

PolicyConfig PolicyConfig::from_file(const std::filesystem::path& config_json) {
  return from_json(read_config_json(config_json), config_json.string());
}

int PolicyConfig::moe_layers() const {
  int n = 0;
  for (const char s : sparse) n += s;
  return n;
}

float PolicyConfig::attention_scale() const {
  return static_cast<float>(rope.softmax_scale / std::sqrt(static_cast<double>(k_dim())));
}

}  // namespace zeroth

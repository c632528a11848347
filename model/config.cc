#include "model/config.h"

#include <cmath>
#include <optional>

#include "model/config_parts.h"
#include "model/image_codes.h"
#include "model/multimodal.h"

namespace zeroth {
namespace {

// The class that the file names first; empty: none.
std::string read_architecture(const ConfigReader& in) {
  const Json* list = in.find({"architectures"});
  if (list == nullptr || (list->is_array() && list->empty())) return "";
  if (!list->is_array() || !list->front().is_string()) {
    in.bad("architectures", "is " + ConfigReader::shown(*list), "give a list with one name");
  }
  return list->front().get<std::string>();
}

// Classes of transformers that are a family under another name. A Ministral is a Mistral with
// layer_types.
struct OtherName {
  Family family;
  const char *model_type, *architecture;
};
constexpr OtherName kOtherNames[] = {{Family::kMistral, "ministral", "MinistralForCausalLM"}};

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
  for (const OtherName& name : kOtherNames) {
    if (architecture == name.architecture) by_class = &names_of(name.family);
    if (model_type == name.model_type) by_type = &names_of(name.family);
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

kernels::Gate read_gate(const ConfigReader& in, Family family) {
  if (family == Family::kGptOss) {  // its class does not look at hidden_act
    return {kernels::Gate::kClamped,
            static_cast<float>(in.real({"swiglu_alpha"}, 1.702, 1e-3, 1e3)),
            static_cast<float>(in.real({"swiglu_limit"}, 7, 1e-3, 1e6))};
  }
  if (facts_of(family).features.delta_net) {  // the convolution has it, too
    const std::string name = in.text({"hidden_act"}, "silu");
    if (name != "silu" && name != "swish") {
      in.bad("hidden_act", "is " + ConfigReader::shown(name), "use silu");
    }
    return kernels::Gate::kSilu;
  }
  const bool gemma = family == Family::kGemma3;
  const char* const key = gemma ? "hidden_activation" : "hidden_act";
  const std::string name = in.text({key}, gemma ? "gelu_pytorch_tanh" : "silu");
  if (name == "silu" || name == "swish") return kernels::Gate::kSilu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") {
    return kernels::Gate::kGelu;
  }
  in.bad(key, "is " + ConfigReader::shown(name), "silu and gelu_pytorch_tanh are supported");
}

void read_gemma3(const ConfigReader& in, PolicyConfig& c) {
  c.query_scalar = in.real({"query_pre_attn_scalar"}, 256, 1e-6, 1e6);
  c.logit_cap = static_cast<float>(in.real({"final_logit_softcapping"}, 0, 1e-3, 1e6));
  if (in.has("attn_logit_softcapping")) {
    c.notes.push_back("attn_logit_softcapping is not read, as in transformers and llama.cpp");
  }
  if (in.boolean("use_bidirectional_attention", false)) {
    in.bad("use_bidirectional_attention", "is true", "only causal models generate text");
  }
}

void read_quantization(const ConfigReader& top, PolicyConfig& c) {
  if (!top.has("quantization_config")) return;
  const ConfigReader in = top.object("quantization_config");
  const std::string method = in.text({"quant_method"}, "");
  c.mxfp4 = method == "mxfp4" && names_of(c.family).tensors.stacked_experts;
  if (c.mxfp4) return;
  if (method != "fp8") {
    in.bad("quant_method", "is '" + method + "'",
           "only block-scaled fp8 is read, and mxfp4 of gpt-oss: convert the checkpoint to "
           "bfloat16 or float32");
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
    PolicyConfig c = from_json(part->config, source_name + ": " + part->key);
    c.names = part->names;
    c.notes.insert(c.notes.end(), part->notes.begin(), part->notes.end());
    if (asks_for_image_codes(json)) add_image_codes(json, source_name, c);
    return c;
  }
  if (asks_for_image_codes(json)) {
    fail_usage(source_name + ": 'image_generation' in the config of a text model",
               "it belongs beside the language_config of a MultiModalityCausalLM");
  }
  const ConfigReader in(json, source_name);
  PolicyConfig c;
  c.source = json;
  c.family = read_family(in, c.notes);
  const FamilyFacts& facts = facts_of(c.family);
  static_cast<FamilyFeatures&>(c) = facts.features;
  c.vocab_size = in.integer({"vocab_size"}, std::nullopt, 1, kMaxVocab);
  c.width = in.integer({"hidden_size"}, std::nullopt, 1, kMaxSize);
  c.layers = in.integer({"num_hidden_layers"}, std::nullopt, 1, kMaxLayers);
  c.heads = in.integer({"num_attention_heads"}, std::nullopt, 1, kMaxSize);
  const bool own_heads = facts.kv_heads == 0 || in.is_null("num_key_value_heads");
  c.kv_heads =
      in.integer({"num_key_value_heads"}, own_heads ? c.heads : facts.kv_heads, 1, kMaxSize);
  if (c.heads % c.kv_heads != 0) {
    in.bad("num_key_value_heads", "is " + std::to_string(c.kv_heads),
           "it must divide the " + std::to_string(c.heads) + " attention heads");
  }
  const auto no_width = facts.dense_width ? std::nullopt : std::optional<int>(1);
  c.mlp_width = in.integer({"intermediate_size"}, no_width, 1, kMaxSize);
  c.max_position = in.integer({"max_position_embeddings"}, facts.context, 1, 1 << 30);
  c.norm_eps = static_cast<float>(in.real({"rms_norm_eps"}, facts.eps, 0, 1));
  c.initializer_range = in.real({"initializer_range"}, 0.02, 0, 100);
  c.tied_embeddings = in.boolean("tie_word_embeddings", facts.tied);
  c.mlp_bias = facts.mlp_bias && in.boolean("mlp_bias", false);
  c.gate = read_gate(in, c.family);
  read_attention(in, c);
  read_rope(in, c);
  if (c.family == Family::kGemma3) read_gemma3(in, c);
  read_delta_nets(in, c);
  read_windows(in, c);
  read_dual_chunks(in, c);
  c.sparse.assign(c.layers, 0);
  if (facts.sparse) read_experts(in, c);
  if (facts.extra_layers) {
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

int PolicyConfig::recurrent_layers() const {
  int n = 0;
  for (const char r : recurrent) n += r;
  return n;
}

int64_t PolicyConfig::cache_bytes_per_token() const {
  const int64_t floats =
      (layers - recurrent_layers()) * cache_floats() + recurrent_layers() * delta.slot();
  return floats * static_cast<int64_t>(sizeof(float));
}

float PolicyConfig::attention_scale() const {
  const double divisor = query_scalar > 0 ? query_scalar : head_width();
  return static_cast<float>(rope.softmax_scale / std::sqrt(divisor));
}

}  // namespace zeroth

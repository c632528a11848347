#include "model/multimodal.h"

#include <algorithm>

#include "core/error.h"
#include "model/config_reader.h"

namespace zeroth {
namespace {

// A kind of checkpoint. `model_type` and `architecture` are those of the whole, `text_types` those
// that its text model may have ("": none is given), all of which are the family `text` here.
struct Wrapper {
  const char* model_type;
  const char* architecture;
  const char* key;  // of the text model's config
  Family text;
  std::vector<std::string> text_types;
  std::vector<NamePrefix> names;
  Json defaults;      // of the text model's config class, where they are not those of `text`
  bool flat = false;  // older files hold the text model's keys beside the others
  double mrope = 0;   // the rotary theta where positions have three parts, of images
  std::optional<bool> tied =
      {};  // tie_word_embeddings of the whole, which decides; none: of the text
};

// Named by older and by newer versions of transformers.
const std::vector<NamePrefix> kLlavaNames = {{"language_model.model.", "model."},
                                             {"language_model.lm_head.", "lm_head."},
                                             {"model.language_model.", "model."},
                                             {"lm_head.", "lm_head."}};
const std::vector<NamePrefix> kQwenNames = {{"model.language_model.", "model."},
                                            {"model.visual.", std::nullopt},
                                            {"model.", "model."},
                                            {"lm_head.", "lm_head."}};

const std::vector<Wrapper>& wrappers() {
  static const std::vector<Wrapper> all = {
      {.model_type = "multi_modality",
       .architecture = "MultiModalityCausalLM",
       .key = "language_config",
       .text = Family::kLlama,
       .text_types = {"", "llama"},
       .names = {{"language_model.", ""}},
       .defaults = {{"hidden_size", 4096},
                    {"intermediate_size", 11008},
                    {"num_hidden_layers", 32},
                    {"num_attention_heads", 32},
                    {"vocab_size", 32000}}},
      {.model_type = "deepseek_vl_v2",
       .architecture = "DeepseekVLV2ForCausalLM",
       .key = "language_config",
       .text = Family::kDeepseekV2,
       .text_types = {"", "deepseek_v2"},
       .names = {{"language.", ""}},
       .defaults = Json::object()},
      {.model_type = "gemma3",
       .architecture = "Gemma3ForConditionalGeneration",
       .key = "text_config",
       .text = Family::kGemma3,
       .text_types = {"", "gemma3_text"},
       .names = kLlavaNames,
       .defaults = {{"vocab_size", 262208},
                    {"hidden_size", 2304},
                    {"intermediate_size", 9216},
                    {"num_hidden_layers", 26},
                    {"num_attention_heads", 8},
                    {"num_key_value_heads", 4},
                    {"head_dim", 256}},
       .tied = true},
      {.model_type = "mistral3",
       .architecture = "Mistral3ForConditionalGeneration",
       .key = "text_config",
       .text = Family::kMistral,
       .text_types = {"", "mistral"},
       .names = kLlavaNames,
       .defaults = {{"num_key_value_heads", 8}},
       .tied = true},
      {.model_type = "qwen2_5_vl",
       .architecture = "Qwen2_5_VLForConditionalGeneration",
       .key = "text_config",
       .text = Family::kQwen2,
       .text_types = {"", "qwen2_5_vl_text", "qwen2_5_vl"},
       .names = kQwenNames,
       .defaults = {{"num_key_value_heads", 8}, {"rms_norm_eps", 1e-5}, {"max_window_layers", 80}},
       .flat = true,
       .mrope = 1e6},
      {.model_type = "qwen3_vl",
       .architecture = "Qwen3VLForConditionalGeneration",
       .key = "text_config",
       .text = Family::kQwen3,
       .text_types = {"", "qwen3_vl_text"},
       .names = kQwenNames,
       .defaults = {{"num_key_value_heads", 32},
                    {"head_dim", 128},
                    {"max_position_embeddings", 128000}},
       .mrope = 5e5,
       .tied = false},
      {.model_type = "qwen3_5",
       .architecture = "Qwen3_5ForConditionalGeneration",
       .key = "text_config",
       .text = Family::kQwen35,
       .text_types = {"", "qwen3_5_text", "qwen3_5"},
       .names = kQwenNames,
       .defaults = {{"vocab_size", 248320},
                    {"hidden_size", 4096},
                    {"intermediate_size", 12288},
                    {"num_hidden_layers", 32},
                    {"num_attention_heads", 16}},
       .mrope = 1e4,
       .tied = false},
      {.model_type = "qwen3_5_moe",
       .architecture = "Qwen3_5MoeForConditionalGeneration",
       .key = "text_config",
       .text = Family::kQwen35Moe,
       .text_types = {"", "qwen3_5_moe_text", "qwen3_5_moe"},
       .names = kQwenNames,
       .defaults = {{"vocab_size", 248320},
                    {"hidden_size", 2048},
                    {"num_hidden_layers", 40},
                    {"num_attention_heads", 16},
                    {"moe_intermediate_size", 512},
                    {"shared_expert_intermediate_size", 512},
                    {"num_experts_per_tok", 8},
                    {"num_experts", 256}},
       .mrope = 1e4,
       .tied = false},
  };
  return all;
}

std::string text_of(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end()) return "";
  const Json& value = it->is_array() && !it->empty() ? it->front() : *it;
  return value.is_string() ? value.get<std::string>() : "";
}

// Positions of images and videos have three parts; those of text are equal in all of them, which
// leaves the plain rotation.
void drop_multimodal_rope(Json& config, double default_theta) {
  bool theta = config.contains("rope_theta");
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto it = config.find(key);
    if (it == config.end() || !it->is_object()) continue;
    it->erase("mrope_section");
    it->erase("mrope_interleaved");
    for (const char* type : {"rope_type", "type"}) {
      if (it->value(type, Json()) == "mrope") (*it)[type] = "default";
    }
    theta = theta || it->contains("rope_theta");
  }
  if (!theta) config["rope_theta"] = default_theta;
}

// What the text model takes from the whole, and from its config class.
void complete(const Wrapper& wrapper, const Json& whole, Json& text) {
  text["architectures"] = {names_of(wrapper.text).architecture};
  text["model_type"] = names_of(wrapper.text).model_type;
  for (const auto& [key, value] : wrapper.defaults.items()) {
    if (!text.contains(key)) text[key] = value;
  }
  if (wrapper.mrope > 0) drop_multimodal_rope(text, wrapper.mrope);
  const char* const tied = "tie_word_embeddings";
  if (whole.contains(tied) || wrapper.tied) {
    // Older files of Qwen2.5-VL say it of the text model alone.
    const bool by_text = !wrapper.tied && text.value(tied, Json()) == true;
    if (!by_text) text[tied] = whole.contains(tied) ? whole[tied] : Json(*wrapper.tied);
  }
  if (whole.contains("quantization_config")) {
    text["quantization_config"] = whole["quantization_config"];
  }
  text.erase("vision_config");
}

}  // namespace

std::optional<LanguagePart> language_part(const Json& config, const std::string& source) {
  for (const Wrapper& wrapper : wrappers()) {
    if (text_of(config, "architectures") != wrapper.architecture &&
        text_of(config, "model_type") != wrapper.model_type) {
      continue;
    }
    const auto language = config.find(wrapper.key);
    const bool there = language != config.end() && language->is_object();
    if (!there && !wrapper.flat) {
      fail_usage(source + ": '" + wrapper.key + "' is missing",
                 std::string("a ") + wrapper.architecture + " holds its text model there");
    }
    LanguagePart part{there ? *language : config, there ? wrapper.key : "text model",
                      wrapper.names};
    Json& text = part.config;
    const std::string type = text_of(text, "model_type");
    if (std::find(wrapper.text_types.begin(), wrapper.text_types.end(), type) ==
        wrapper.text_types.end()) {
      fail_usage(source + ": " + part.key + ": 'model_type' is " + ConfigReader::shown(type),
                 std::string("of a ") + wrapper.architecture + " the text model " +
                     to_string(wrapper.text) + " is read");
    }
    complete(wrapper, config, text);
    if (wrapper.text == Family::kMistral && text.contains("layer_types")) {
      text.erase("layer_types");
      part.notes.push_back(std::string("layer_types is not read of a ") + wrapper.architecture +
                           ": all layers have the window, as in transformers");
    }
    if (wrapper.text == Family::kGemma3 &&
        text.value("final_logit_softcapping", Json()) != Json()) {
      text.erase("final_logit_softcapping");
      part.notes.push_back(
          std::string("final_logit_softcapping is not read of a ") + wrapper.architecture +
          ", as in transformers, which caps the logits of Gemma3ForCausalLM alone");
    }
    return part;
  }
  return std::nullopt;
}

std::optional<std::string> text_name(const std::vector<NamePrefix>& names,
                                     const std::string& tensor) {
  if (names.empty()) return tensor;
  for (const NamePrefix& prefix : names) {
    if (!tensor.starts_with(prefix.from)) continue;
    if (!prefix.to) return std::nullopt;
    return *prefix.to + tensor.substr(prefix.from.size());
  }
  return std::nullopt;
}

std::string own_name(const std::vector<NamePrefix>& names, const std::string& tensor) {
  return text_name(names, tensor).value_or(tensor);
}

}  // namespace zeroth

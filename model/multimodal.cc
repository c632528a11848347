#include "model/multimodal.h"

#include "core/error.h"
#include "model/config.h"

namespace zeroth {
namespace {

struct Wrapper {
  const char* model_type;
  const char* architecture;
  const char* prefix;
  Family text;
};
constexpr Wrapper kWrappers[] = {
    {"multi_modality", "MultiModalityCausalLM", "language_model.", Family::kLlama},
    {"deepseek_vl_v2", "DeepseekVLV2ForCausalLM", "language.", Family::kDeepseekV2},
};

std::string text_of(const Json& config, const char* key) {
  const auto it = config.find(key);
  if (it == config.end()) return "";
  const Json& value = it->is_array() && !it->empty() ? it->front() : *it;
  return value.is_string() ? value.get<std::string>() : "";
}

// What LlamaConfig of transformers has where a config.json says nothing.
void fill_llama_defaults(Json& config) {
  const Json defaults = {{"hidden_size", 4096},
                         {"intermediate_size", 11008},
                         {"num_hidden_layers", 32},
                         {"num_attention_heads", 32},
                         {"vocab_size", 32000}};
  for (const auto& [key, value] : defaults.items()) {
    if (!config.contains(key)) config[key] = value;
  }
}

}  // namespace

std::optional<LanguagePart> language_part(const Json& config, const std::string& source) {
  for (const Wrapper& wrapper : kWrappers) {
    if (text_of(config, "architectures") != wrapper.architecture &&
        text_of(config, "model_type") != wrapper.model_type) {
      continue;
    }
    const auto language = config.find("language_config");
    if (language == config.end() || !language->is_object()) {
      fail_usage(source + ": 'language_config' is missing",
                 std::string("a ") + wrapper.architecture + " holds its text model there");
    }
    LanguagePart part{*language, wrapper.prefix};
    part.config["architectures"] = {names_of(wrapper.text).architecture};
    part.config["model_type"] = names_of(wrapper.text).model_type;
    if (wrapper.text == Family::kLlama) fill_llama_defaults(part.config);
    return part;
  }
  return std::nullopt;
}

}  // namespace zeroth

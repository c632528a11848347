// The text model inside a multimodal checkpoint.
#pragma once

#include <optional>
#include <string>

#include "core/config.h"

namespace zeroth {

struct LanguagePart {
  Json config;         // a config.json of its own
  std::string prefix;  // of its tensors' names; the others belong to the other modalities
};

// Janus and Janus-Pro (MultiModalityCausalLM: language_model.*, a Llama whose config leaves out
// what is at Llama's defaults) and DeepSeek-VL2 (DeepseekVLV2ForCausalLM: language.*, a DeepSeek-V2
// with or without latent attention). Nothing for other models. Throws a usage Error naming `source`
// when the text model's config is missing.
std::optional<LanguagePart> language_part(const Json& config, const std::string& source);

}  // namespace zeroth

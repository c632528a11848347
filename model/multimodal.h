// The text model inside a multimodal checkpoint.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "model/config.h"

namespace zeroth {

struct LanguagePart {
  Json config;                          // a config.json of its own
  std::string key;                      // where it was found
  std::vector<NamePrefix> names;        // of its tensors in the file; other names: other modalities
  std::vector<std::string> notes = {};  // as PolicyConfig's
};

// The text model of a checkpoint that holds one among others; docs/models.md lists them. What the
// file leaves to its config class is filled in. Nothing for other models. Throws a usage Error
// naming `source` when the text model's config is missing or of a kind that is not read.
std::optional<LanguagePart> language_part(const Json& config, const std::string& source);

// The name that a tensor of the file has in the text model; nothing: another modality's.
std::optional<std::string> text_name(const std::vector<NamePrefix>& names,
                                     const std::string& tensor);
// The same; a name that is none of the text model's stays as it is.
std::string own_name(const std::vector<NamePrefix>& names, const std::string& tensor);

}  // namespace zeroth

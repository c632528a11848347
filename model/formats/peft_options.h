// What an adapter_config.json says besides lora_alpha (model/formats/peft.h).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "text/tokenizer_regex.h"

namespace zeroth {

// What to do about an adapter that is not read.
inline constexpr const char* kRefitAdapter =
    "save it again with PEFT as plain LoRA, or merge it with PEFT";

// Whether an option is there and says something.
bool says(const Json& adapter_config, const char* option);

// Throws Error naming the option for those that change what a pair means, or the base.
void refuse_other_adapters(const Json& adapter_config, const std::string& where);

// lora_alpha of single layers: the first key that matches counts, a regular expression of the end
// of a name, from a dot on. Const members are thread safe.
class AlphaPattern {
 public:
  AlphaPattern(const Json& adapter_config, const std::string& where);
  double operator()(const std::string& name, double otherwise) const;

 private:
  std::vector<std::pair<Regex, double>> keys_;
};

}  // namespace zeroth

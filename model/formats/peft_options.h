// What an adapter_config.json says besides lora_alpha (model/formats/peft.h).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "model/lora.h"
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

// LoraPair::parameter of fused experts; gpt-oss's have rows of gate and up next to each other in
// the file.
inline constexpr const char* kGateUp = "mlp.experts.gate_up_proj";
inline constexpr const char* kInterleavedGateUp = "mlp.experts.gate_up_proj, interleaved";
inline constexpr const char* kDown = "mlp.experts.down_proj";

// What PEFT matches its patterns of ranks and alphas with.
std::string pattern_name(const std::string& module, const std::string& parameter);

// Writes ranks, alphas and names of layers and tensors that the adapter is for into an
// adapter_config.json. Where it has experts, one by one or fused, it says what PEFT with
// transformers 5 makes of them: there they are parameters, and names of their matrices among
// target_modules would be taken for the experts' alone, dropping those of shared and dense layers.
void name_adapted(const LoraAdapter& adapter, Json& adapter_config);

}  // namespace zeroth

#include "model/formats/peft_options.h"

#include <cmath>

#include "core/error.h"

namespace zeroth {
namespace {

constexpr size_t kMostPatterns = 10000, kLongestPattern = 1000;

}  // namespace

bool says(const Json& config, const char* name) {
  const auto at = config.find(name);
  if (at == config.end() || at->is_null()) return false;
  if (at->is_boolean()) return at->get<bool>();
  return !at->empty();
}

void refuse_other_adapters(const Json& config, const std::string& where) {
  if (config.value("peft_type", Json()) != "LORA") {
    fail(where + ": peft_type is " + config.value("peft_type", Json()).dump() + ", not \"LORA\"",
         "take an adapter of LoRA");
  }
  if (says(config, "bias") && config["bias"] != "none")
    fail(where + ": bias = " + config["bias"].dump() + " trains biases", kRefitAdapter);
  const auto refuse = [&](const std::string& name) {
    fail(where + ": " + name.substr(0, 80) + " = " + config[name].dump().substr(0, 80) +
             " is not read here",
         kRefitAdapter);
  };
  for (const char* name : {"lora_bias", "modules_to_save", "layer_replication",
                           "trainable_token_indices", "alora_invocation_tokens", "arrow_config",
                           "kasa_config", "velora_config", "monteclora_config"}) {
    if (says(config, name)) refuse(name);
  }
  // DoRA and its like, those of later versions too.
  for (const auto& [name, value] : config.items()) {
    if (name.starts_with("use_") && name != "use_rslora" && says(config, name.c_str()))
      refuse(name);
  }
  // The other ways to begin change the base when PEFT loads the adapter, or belong to a base that
  // was changed.
  const Json init = config.value("init_lora_weights", Json(true));
  if (init.is_null() || init.is_boolean() || init == "gaussian" || init == "orthogonal" ||
      init == "eva" || init == "mica") {
    return;
  }
  fail(where + ": init_lora_weights = " + init.dump().substr(0, 80) +
           ", which takes a part of the base's weights into the adapter",
       "convert it with PEFT (save_pretrained with path_initial_model_for_weight_conversion), or "
       "merge it with PEFT");
}

AlphaPattern::AlphaPattern(const Json& config, const std::string& where) {
  const auto at = config.find("alpha_pattern");
  if (at == config.end() || at->is_null()) return;
  if (!at->is_object() || at->size() > kMostPatterns)
    fail(where + ": alpha_pattern is no object of a few entries", "fetch the file again");
  for (const auto& [key, value] : at->items()) {
    if (key.size() > kLongestPattern || !value.is_number() || !(value.get<double>() > 0) ||
        !std::isfinite(value.get<double>())) {
      fail(where + ": alpha_pattern has " + Json(key).dump().substr(0, 200) + ": " +
               value.dump().substr(0, 80) + ", not a number above 0",
           "fetch the file again");
    }
    keys_.emplace_back(Regex::compile("^(.*\\.)?(" + key + ")$", where + ": alpha_pattern"),
                       value.get<double>());
  }
}

double AlphaPattern::operator()(const std::string& name, double otherwise) const {
  std::vector<Span> matches;
  for (const auto& [key, alpha] : keys_) {
    key.find_all(name, matches);
    if (!matches.empty()) return alpha;
  }
  return otherwise;
}

}  // namespace zeroth

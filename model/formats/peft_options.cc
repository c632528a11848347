#include "model/formats/peft_options.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <set>

#include "core/error.h"

namespace zeroth {
namespace {

constexpr size_t kMostPatterns = 10000, kLongestPattern = 1000;

std::string parameter_of(const std::string& parameter) {
  return parameter == kInterleavedGateUp ? kGateUp : parameter;
}

double divisor_of(const LoraPair& pair, bool root) {
  const auto rank = static_cast<double>(pair.rank);
  return root ? std::sqrt(rank) : rank;
}

// Whether more pairs have alpha / sqrt(rank) for their scale than alpha / rank.
bool divides_by_root(const LoraAdapter& adapter) {
  int64_t more = 0;
  for (const LoraPair& pair : adapter.pairs()) {
    if (pair.rank == 1) continue;
    more += pair.scale == adapter.alpha() / divisor_of(pair, true);
    more -= pair.scale == adapter.alpha() / divisor_of(pair, false);
  }
  return more > 0;
}

std::string last_part(const std::string& module) { return module.substr(module.rfind('.') + 1); }

// The matrix of a single expert: how its layer begins, or nothing.
std::string layer_of_expert(const LoraPair& pair) {
  const size_t at = pair.module.find(".experts.");
  if (pair.expert >= 0 || at == std::string::npos) return "";
  return pair.module.substr(0, pair.module.rfind('.', at - 1) + 1);
}

bool is_part(const std::string& part, std::initializer_list<const char*> names) {
  return std::find(names.begin(), names.end(), part) != names.end();
}

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

std::string pattern_name(const std::string& module, const std::string& parameter) {
  if (parameter.empty()) return module;
  return module.substr(0, module.rfind(".mlp.") + 1) + parameter_of(parameter);
}

void name_adapted(const LoraAdapter& adapter, Json& config) {
  const bool root = divides_by_root(adapter);
  const auto& pairs = adapter.pairs();
  const int rank = pairs.empty() ? 1 : pairs.back().rank;
  std::set<std::string> modules, parameters;
  Json ranks = Json::object(), alphas = Json::object();
  bool experts = false;
  for (const LoraPair& pair : pairs)
    experts = experts || pair.expert >= 0 || !layer_of_expert(pair).empty();
  for (const LoraPair& pair : pairs) {
    // Of gate and up together PEFT makes one pair of both ranks.
    const auto note = [&](const std::string& key, int parts) {
      const int of_all = parts * pair.rank;
      const double divisor = root ? std::sqrt(of_all) : of_all;
      if (of_all != rank) ranks[key] = of_all;
      const double alpha = pair.scale * divisor;
      if (pair.scale != adapter.alpha() / divisor) alphas[key] = alpha;
    };
    note(pattern_name(pair.module, pair.parameter), 1);
    const std::string part = last_part(pair.module), layer = layer_of_expert(pair);
    if (pair.expert >= 0) {
      parameters.insert(parameter_of(pair.parameter));
    } else if (!layer.empty()) {
      const bool down = is_part(part, {"down_proj", "w2"});
      parameters.insert(down ? kDown : kGateUp);
      note(layer + (down ? kDown : kGateUp), down ? 1 : 2);
    } else if (experts && is_part(part, {"gate_proj", "up_proj", "down_proj", "gate", "router"})) {
      const size_t block = pair.module.rfind(".mlp.");
      parameters.insert(
          (block == std::string::npos ? "mlp." + part : pair.module.substr(block + 1)) + ".weight");
    } else {
      modules.insert(part);
    }
  }
  config["r"] = rank;
  config["use_rslora"] = root;
  config["rank_pattern"] = ranks;
  config["alpha_pattern"] = alphas;
  config["target_modules"] = modules;
  config["target_parameters"] = parameters.empty() ? Json() : Json(parameters);
}

}  // namespace zeroth

#include "learn/lora_cases.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "learn/learner.h"
#include "model/formats/peft.h"
#include "model/multimodal.h"
#include "policy/policy.h"

namespace zeroth {
namespace {

void widen(double& largest, double difference) {
  if (!(difference <= largest)) largest = difference;  // NaN stays
}

void compare(const std::vector<std::vector<float>>& got, const Json& sequences, const char* name,
             double& largest) {
  for (size_t s = 0; s < got.size(); ++s) {
    const auto expected = sequences[s].at(name).get<std::vector<double>>();
    if (expected.size() != got[s].size()) fail("another number of log-probs than tokens");
    for (size_t t = 0; t < expected.size(); ++t) widen(largest, std::abs(got[s][t] - expected[t]));
  }
}

double squares(std::span<const float> values) {
  double sum = 0;
  for (const float x : values) sum += static_cast<double>(x) * x;
  return sum;
}

void compare_gradients(const LoraAdapter& adapter, std::span<const float> gradient,
                       const PolicyConfig& config, const Json& expected, LoraCaseResult& result) {
  std::map<std::string, double> found;  // squares by the name in the file
  const auto& infos = adapter.parameters().infos();
  for (const LoraPair& pair : adapter.pairs()) {
    for (const auto& [at, end] :
         {std::pair{pair.a, ".lora_A.weight"}, std::pair{pair.b, ".lora_B.weight"}}) {
      const ParameterInfo& info = infos[at];
      found[pair.module + end] += squares(gradient.subspan(info.offset, info.count));
    }
  }
  constexpr std::string_view kPrefix = "base_model.model.";
  for (const auto& [full, norm] : expected.items()) {
    const std::string name =
        own_name(config.names, full.starts_with(kPrefix) ? full.substr(kPrefix.size()) : full);
    if (!found.contains(name)) fail("no gradient of " + full);
    const auto value = norm.get<double>();
    widen(result.gradient_norms, std::abs(std::sqrt(found[name]) - value) / value);
    ++result.gradients;
  }
}

// Sum of squares of a tensor of the file, which may be the experts of a layer, and the gates and
// ups of each, in one.
double squares_of(const Policy& policy, std::span<const float> values, const std::string& name) {
  constexpr std::string_view kExperts = ".experts.";
  const size_t at = name.find(kExperts);
  const std::string stem = at == std::string::npos ? "" : name.substr(0, at + kExperts.size());
  const std::string end = stem.empty() ? "" : name.substr(stem.size()) + ".weight";
  double sum = 0;
  bool found = false;
  for (const ParameterInfo& info : policy.parameters().infos()) {
    const auto ends_with = [&](const char* part) { return info.name.ends_with(part); };
    const bool part = !stem.empty() && info.name.starts_with(stem) &&
                      (end == "gate_up_proj.weight"
                           ? ends_with(".gate_proj.weight") || ends_with(".up_proj.weight")
                           : info.name.ends_with("." + end));
    if (info.name != name && !part) continue;
    found = true;
    sum += squares(values.subspan(static_cast<size_t>(info.offset), info.count));
  }
  if (!found) fail("the model has no tensor " + name);
  return sum;
}

}  // namespace

LoraCaseResult evaluate_lora_case(const std::filesystem::path& folder) {
  const Json expected = read_json_file(folder / "expected.json");
  LoraCaseResult result;
  const auto policy = Policy::load(folder / "base");
  std::vector<std::vector<TokenId>> sequences;
  for (const Json& sequence : expected.at("sequences"))
    sequences.push_back(sequence.at("ids").get<std::vector<TokenId>>());
  compare(score_sequences(*policy->weights(), sequences), expected.at("sequences"), "base_logprobs",
          result.base_logprobs);
  Learner learner(*policy, {}, {}, nullptr, read_adapter(folder / "adapter", policy->config()));
  learner.begin();
  compare(differentiate_sequences(learner, sequences), expected.at("sequences"), "adapter_logprobs",
          result.logprobs);
  compare_gradients(learner.low_rank()->adapter(), learner.reduce(), policy->config(),
                    expected.at("grad_norms"), result);
  std::vector<float> merged(policy->parameters().values().size());
  policy->read_masters(0, merged);
  for (const auto& [name, norm] : expected.at("merged_tensor_norms").items()) {
    const auto value = norm.get<double>();
    const std::vector<NamePrefix>& prefixes = policy->config().names;
    if (!prefixes.empty() && !text_name(prefixes, name)) continue;  // of another part
    const double found =
        std::sqrt(squares_of(*policy, merged, own_name(policy->config().names, name)));
    widen(result.merged_norms, std::abs(found - value) / value);
    ++result.tensors;
  }
  return result;
}

}  // namespace zeroth

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
                       const Json& expected, LoraCaseResult& result) {
  std::map<std::string, double> found;  // squares by the name in the file
  const auto& infos = adapter.parameters().infos();
  for (const LoraPair& pair : adapter.pairs()) {
    for (const auto& [at, end] :
         {std::pair{pair.a, ".lora_A.weight"}, std::pair{pair.b, ".lora_B.weight"}}) {
      const ParameterInfo& info = infos[at];
      found["base_model.model." + pair.module + end] +=
          squares(gradient.subspan(info.offset, info.count));
    }
  }
  for (const auto& [name, norm] : expected.items()) {
    if (!found.contains(name)) fail("no gradient of " + name);
    const auto value = norm.get<double>();
    widen(result.gradient_norms, std::abs(std::sqrt(found[name]) - value) / value);
    ++result.gradients;
  }
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
  compare_gradients(learner.low_rank()->adapter(), learner.reduce(), expected.at("grad_norms"),
                    result);
  std::vector<float> merged(policy->parameters().values().size());
  policy->read_masters(0, merged);
  for (const auto& [name, norm] : expected.at("merged_tensor_norms").items()) {
    const auto value = norm.get<double>();
    const ParameterInfo& info = policy->parameters().info(name);
    const double found = std::sqrt(squares(std::span(merged).subspan(
        static_cast<size_t>(info.offset), static_cast<size_t>(info.count))));
    widen(result.merged_norms, std::abs(found - value) / value);
    ++result.tensors;
  }
  return result;
}

}  // namespace zeroth

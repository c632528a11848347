// One GRPO step of a checkpoint with given samples, by the operators of a back end.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

#include "core/rng.h"
#include "policy/scoring.h"
#include "rl/advantage.h"
#include "rl/trainer.h"

namespace zeroth {

// Groups of samples that begin alike and end at different lengths; each has what its weights say.
inline std::vector<Group> groups_of(const Policy& policy) {
  Rng rng(3, 0);
  const auto token = [&] { return static_cast<TokenId>(rng.below(policy.config().vocab_size)); };
  std::vector<Group> groups(3);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t t = 0; t < 2 + 17 * g; ++t) groups[g].prompt_tokens.push_back(token());
    groups[g].samples.resize(4);
    for (Sample& sample : groups[g].samples) {
      for (size_t t = 0; t < 3 + rng.below(12); ++t) sample.tokens.push_back(token());
      std::vector<TokenId> whole = groups[g].prompt_tokens;
      whole.insert(whole.end(), sample.tokens.begin(), sample.tokens.end());
      const auto scored =
          score_sequences(*policy.weights(), std::vector<std::vector<TokenId>>{whole})[0];
      sample.logprobs.assign(scored.end() - static_cast<int64_t>(sample.tokens.size()),
                             scored.end());
      sample.reward = rng.uniform();
    }
  }
  assign_advantages(groups, {});
  return groups;
}

struct Step {
  std::vector<float> values;  // of all parameters afterwards
  std::vector<ParameterInfo> infos;
  double grad_norm = 0, moved = 0;
};

inline Step step_by(const kernels::Operators& ops, const std::filesystem::path& model) {
  const auto policy = Policy::load(model, kernels::Element::kFloat32, ops);
  const std::span<const float> values = policy->parameters().values();
  const std::vector<float> before(values.begin(), values.end());
  TrainerConfig config;
  config.leaf_tokens = 40;
  config.router_aux_coef = 0.01;
  LossConfig loss;
  loss.entropy_coef = 0.01;
  OptimizerConfig optimizer;
  optimizer.lr = 1e-2;
  // With the usual 1e-15 a first step is the sign of the gradient, and rounding decides it near 0.
  optimizer.eps = 1e-3;
  Trainer trainer(*policy, nullptr, config, loss, optimizer, 1, 10, 64, 1);
  const std::vector<Group> groups = groups_of(*policy);
  Step step;
  step.grad_norm = trainer.update(groups, 0).grad_norm;
  step.values.assign(values.begin(), values.end());
  step.infos = policy->parameters().infos();
  for (size_t i = 0; i < before.size(); ++i)
    step.moved = std::max(step.moved, std::abs(double{values[i]} - before[i]));
  return step;
}

}  // namespace zeroth

// One GRPO step of a checkpoint with given samples, by whatever operators it is linked with.
// grpo_step MODEL write FILE | grpo_step MODEL compare FILE: the second one fails when a parameter
// is further than 1e-5 from what the first one wrote, or when nothing was learnt.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/rng.h"
#include "policy/scoring.h"
#include "rl/advantage.h"
#include "rl/trainer.h"

namespace {

using namespace zeroth;

constexpr double kBound = 1e-5;

// Groups of samples that begin alike and end at different lengths; each has what its weights say.
std::vector<Group> groups_of(const Policy& policy) {
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

int run(const std::string& model, bool write, const std::string& file) {
  const std::unique_ptr<Policy> policy = Policy::load(model);
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
  const StepReport report = trainer.update(groups, 0);
  double moved = 0;
  for (size_t i = 0; i < before.size(); ++i)
    moved = std::max(moved, std::abs(double{values[i]} - before[i]));
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  if (write) {
    write_file_atomic(file, bytes);
    std::printf("gradient norm %.9g, largest move %.3g\n", report.grad_norm, moved);
    return moved > 100 * kBound ? 0 : 1;
  }
  const std::string other = read_file(file);
  if (other.size() != bytes.size()) return 1;
  double worst = 0;
  size_t different = 0, at = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    float value;
    std::memcpy(&value, other.data() + i * sizeof(float), sizeof(float));
    const double distance = std::abs(double{value} - values[i]);
    different += value != values[i];
    if (!(distance <= worst)) {
      worst = distance;
      at = i;
    }
  }
  std::string where;
  for (const ParameterInfo& info : policy->parameters().infos()) {
    if (static_cast<int64_t>(at) >= info.offset) where = info.name;
  }
  std::printf(
      "gradient norm %.9g, largest move %.3g, largest difference %.3g in %s, %zu of %zu "
      "parameters differ\n",
      report.grad_norm, moved, worst, where.c_str(), different, values.size());
  // Two back ends round differently somewhere; else one was compared with itself.
  return worst <= kBound && moved > 100 * kBound && different > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    return run(argv[1], std::string(argv[2]) == "write", argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

#include "rl/distill.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "core/error.h"
#include "rl/advantage.h"
#include "rl/loss.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "support.h"

using namespace zeroth;

namespace {

std::vector<double> log_softmax(const std::vector<double>& z) {
  double sum = 0;
  for (const double x : z) sum += std::exp(x);
  std::vector<double> out;
  for (const double x : z) out.push_back(x - std::log(sum));
  return out;
}

double reverse_kl(const std::vector<double>& policy, const std::vector<double>& teacher) {
  double kl = 0;
  for (size_t i = 0; i < policy.size(); ++i) kl += std::exp(policy[i]) * (policy[i] - teacher[i]);
  return kl;
}

std::vector<Group> draw(const Policy& policy, int groups, int samples) {
  LocalSampler engine(policy.weights(), nullptr, {});
  std::vector<GenerationRequest> requests(groups);
  for (int g = 0; g < groups; ++g) {
    for (int t = 0; t < 4; ++t) requests[g].prompt.push_back(40 + (t * 5 + g) % 60);
    requests[g].problem = g;
    requests[g].samples = samples;
    requests[g].sampling.max_tokens = 10;
  }
  auto drawn = engine.generate(requests);
  std::vector<Group> result(groups);
  for (int g = 0; g < groups; ++g) {
    result[g].prompt_tokens = requests[g].prompt;
    result[g].samples = std::move(drawn[g]);
  }
  assign_advantages(result, {});  // no rewards: no signal
  return result;
}

}  // namespace

TEST_CASE("distillation: the mean gradient is that of the reverse KL, by enumeration") {
  const std::vector<double> z = {0.3, -1.1, 0.8};
  const auto policy = log_softmax(z), teacher = log_softmax({-0.5, 0.4, 1.2});
  DistillConfig config;
  config.weight = 0.7;
  LossConfig loss;
  loss.type = "grpo";
  const PolicyLoss policy_loss(loss);
  LossScope scope;
  scope.samples = scope.tokens = scope.step_tokens = 1;
  std::vector<double> gradient(3, 0);
  for (size_t y = 0; y < 3; ++y) {  // every token that can be drawn, by its probability
    Sample sample;
    sample.tokens = {static_cast<TokenId>(y)};
    sample.logprobs = {static_cast<float>(policy[y])};
    const std::vector<float> theirs = {static_cast<float>(teacher[y])};
    const auto advantages = distilled_advantages(config, sample, {}, theirs);
    SampleTerms terms;
    terms.logprob = terms.old_logprob = sample.logprobs;
    terms.token_advantage = advantages;
    std::vector<double> by_logprob(1);
    LossStats stats;
    policy_loss.add(scope, terms, by_logprob, stats);
    for (size_t k = 0; k < 3; ++k)
      gradient[k] += std::exp(policy[y]) * by_logprob[0] * ((k == y ? 1 : 0) - std::exp(policy[k]));
  }
  const double h = 1e-6;
  for (size_t k = 0; k < 3; ++k) {
    std::vector<double> up = z, down = z;
    up[k] += h;
    down[k] -= h;
    const double slope =
        (reverse_kl(log_softmax(up), teacher) - reverse_kl(log_softmax(down), teacher)) / (2 * h);
    CHECK(gradient[k] == doctest::Approx(0.7 * slope).epsilon(1e-5));
    const double closed =
        std::exp(policy[k]) * (policy[k] - teacher[k] - reverse_kl(policy, teacher));
    CHECK(gradient[k] == doctest::Approx(0.7 * closed).epsilon(1e-5));
  }
}

TEST_CASE("distillation: rewards beside it, and no part for an environment") {
  Sample sample;
  sample.tokens = {1, 2, 3, 4};
  sample.logprobs = {-1, -2, 0, -3};
  sample.turns = {{2, 3, 0, 0, "x"}, {4, 4, 0, 0, ""}};
  sample.advantage = 2;
  DistillConfig config;
  config.reward_weight = 0.5;
  const std::vector<float> teacher = {-2, -1, -9, -3};
  CHECK(distilled_advantages(config, sample, {}, teacher) == std::vector<double>{0, 2, 0, 1});
  const std::vector<double> own = {4, 0, 4, 8};
  CHECK(distilled_advantages(config, sample, own, teacher) == std::vector<double>{1, 1, 0, 4});
}

TEST_CASE("distillation: a teacher draws the policy to itself, and one that is it says nothing") {
  const auto policy = tiny_policy(5);
  OptimizerConfig optimizer;
  optimizer.lr = 3e-3;
  const auto before = policy->parameters().values();
  const std::vector<float> start(before.begin(), before.end());
  LossConfig loss;
  const auto make = [&](Policy& learner, std::unique_ptr<Policy> teacher) {
    auto trainer = std::make_unique<Trainer>(learner, nullptr, TrainerConfig{}, loss, optimizer, 9,
                                             100, 10, 1);
    trainer->distil(std::move(teacher), {});
    return trainer;
  };
  {
    const auto trainer = make(*policy, tiny_policy(5));
    const StepReport report = trainer->update(draw(*policy, 3, 8), 0);
    CHECK(report.updates == 1);
    CHECK(report.reverse_kl == 0.0);  // one forward
    CHECK(report.grad_norm == 0);
  }
  const auto learner = tiny_policy(5);
  const auto trainer = make(*learner, tiny_policy(6));
  double first = 0, last = 0;
  for (int step = 0; step < 25; ++step) {
    const StepReport report = trainer->update(draw(*learner, 6, 12), step);
    REQUIRE(report.reverse_kl);
    CHECK(report.logp_difference_max == 0);
    if (step == 0) first = *report.reverse_kl;
    last = *report.reverse_kl;
  }
  MESSAGE("reverse KL " << first << " -> " << last);
  CHECK(last < 0.7 * first);
}

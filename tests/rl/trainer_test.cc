#include "rl/trainer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "core/parallel.h"
#include "model/formats/gguf_model.h"
#include "rl/advantage.h"
#include "rl/evaluate.h"
#include "rl/micro_batch.h"
#include "rollout/local_sampler.h"
#include "support.h"

using namespace zeroth;

namespace {

constexpr int kMaxTokens = 14;

std::vector<Group> sample_groups(const Policy& policy, int groups, int samples,
                                 const SamplingConfig& sampling) {
  LocalSampler engine(policy.weights(), nullptr, {});
  std::vector<GenerationRequest> requests(groups);
  for (int g = 0; g < groups; ++g) {
    for (int t = 0; t < 3 + 7 * g; ++t) requests[g].prompt.push_back(40 + (t * 5 + g) % 60);
    requests[g].problem = g;
    requests[g].samples = samples;
    requests[g].sampling = sampling;
  }
  auto drawn = engine.generate(requests);
  std::vector<Group> result(groups);
  for (int g = 0; g < groups; ++g) {
    result[g].prompt_tokens = requests[g].prompt;
    result[g].samples = std::move(drawn[g]);
    for (int i = 0; i < samples; ++i) {
      Sample& sample = result[g].samples[i];
      sample.reward = i % 2 + 0.1 * (sample.tokens.back() % 3);
    }
  }
  assign_advantages(result, {});
  return result;
}

SamplingConfig sampling_of(double temperature, int top_k = 0) {
  SamplingConfig sampling;
  sampling.temperature = temperature;
  sampling.top_k = top_k;
  sampling.max_tokens = kMaxTokens;
  return sampling;
}

struct Outcome {
  std::vector<float> weights;
  StepReport report;
};

Outcome train_once(const std::vector<Group>& groups, const TrainerConfig& config,
                   const LossConfig& loss = {}, double temperature = 1,
                   std::unique_ptr<Policy> reference = nullptr) {
  auto policy = tiny_policy();
  OptimizerConfig optimizer;
  optimizer.lr = 1e-3;
  Trainer trainer(*policy, std::move(reference), config, loss, optimizer, 9, 10, kMaxTokens,
                  temperature);
  Outcome outcome;
  outcome.report = trainer.update(groups, 0);
  outcome.weights.assign(policy->parameters().values().begin(),
                         policy->parameters().values().end());
  return outcome;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double(a[i]) - b[i]));
  return worst;
}

}  // namespace

TEST_CASE("log-probs of training equal those of sampling, bit for bit") {
  const auto policy = tiny_policy();
  for (const auto& [temperature, top_k] : {std::pair{1.0, 0}, {0.6, 0}, {1.0, 5}, {1.7, 3}}) {
    CAPTURE(temperature);
    CAPTURE(top_k);
    const auto groups = sample_groups(*policy, 4, 5, sampling_of(temperature, top_k));
    const Outcome outcome = train_once(groups, {}, {}, temperature);
    CHECK(outcome.report.stats.tokens == 4 * 5 * kMaxTokens);
    CHECK(outcome.report.logp_difference_max == 0);
    CHECK(outcome.report.stats.ratio_min == 1);
    CHECK(outcome.report.updates == 1);
    double loss = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      for (size_t i = 0; i < groups[g].samples.size(); ++i) {
        const TrainedSample& trained = outcome.report.trained[g][i];
        CHECK(trained.logprobs == groups[g].samples[i].logprobs);
        CHECK(trained.reference_logprobs.empty());
        loss += trained.loss;
      }
    }
    CHECK(loss == doctest::Approx(outcome.report.stats.loss));
  }
  // It can fail: another temperature is another distribution.
  const auto groups = sample_groups(*policy, 1, 2, sampling_of(1.0));
  CHECK(train_once(groups, {}, {}, 0.9).report.logp_difference_max > 0);
}

TEST_CASE("weights do not depend on how leaves are dealt to calls") {
  for (const char* family : {"llama", "qwen3", "qwen3_moe", "qwen2_moe", "deepseek_v3"}) {
    CAPTURE(family);
    const std::filesystem::path model = std::filesystem::path("tests/data/parity") / family;
    const auto groups = sample_groups(*Policy::load(model), 8, 4, sampling_of(1));
    const auto weights = [&](TrainerConfig config) {
      const auto policy = Policy::load(model);
      OptimizerConfig optimizer;
      optimizer.lr = 1e-3;
      config.router_aux_coef = 0.01;
      LossConfig loss;
      loss.entropy_coef = 0.01;
      Trainer trainer(*policy, nullptr, config, loss, optimizer, 9, 10, kMaxTokens, 1);
      trainer.update(groups, 0);
      return policy->weights()->sha256();
    };
    for (const int branches : {1, 4}) {
      CAPTURE(branches);
      TrainerConfig config;
      config.branches = branches;
      config.leaf_tokens = 60;  // of most groups two to four leaves
      const std::string whole = weights(config);
      // 1, 2, 4 and 8 leaves' worth, and sizes that have nothing to do with leaves.
      for (const int64_t rows : {60, 120, 240, 480, 16, 100, 1000, 8192, 100'000}) {
        CAPTURE(rows);
        config.micro_batch_tokens = rows;
        CHECK(weights(config) == whole);
        config.recompute = !config.recompute;
      }
    }
    // What leaves are shows.
    TrainerConfig one, other;
    other.leaf_tokens = 60;
    CHECK(weights(one) != weights(other));
  }
}

TEST_CASE("gradients of packed groups equal those of separate sequences within rounding") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 3, 4, sampling_of(1));
  // The same loss as packed: each sample alone in a call with its own prompt.
  TrainerConfig alone;
  alone.leaf_tokens = 16;
  std::vector<Group> split;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      Group single = group;
      single.samples = {sample};
      split.push_back(single);
    }
  }
  const Outcome packed = train_once(groups, {});
  const Outcome separate = train_once(split, alone);
  CHECK(packed.report.grad_norm == doctest::Approx(separate.report.grad_norm).epsilon(1e-5));
  CHECK(packed.report.stats.loss == doctest::Approx(separate.report.stats.loss).epsilon(1e-9));
  CHECK(packed.report.forward_rows < separate.report.forward_rows);
  // Adam's first step is lr * sign(g) for gradients well above rounding, so compare where it is not
  // a coin toss.
  CHECK(largest_difference(packed.weights, separate.weights) <= 2.1e-3);
}

TEST_CASE("the update is the same with 1, 2 and 4 threads, and when repeated") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 4, 4, sampling_of(1));
  TrainerConfig config;
  config.inner_epochs = 2;
  config.mini_batches = 2;
  const int before = num_threads();
  const Outcome reference = train_once(groups, config);
  CHECK(reference.report.updates == 4);
  for (int threads : {1, 2, 4}) {
    CAPTURE(threads);
    set_num_threads(threads);
    CHECK(train_once(groups, config).weights == reference.weights);
  }
  set_num_threads(before);
}

TEST_CASE("groups without signal change nothing, and are not computed") {
  const auto policy = tiny_policy();
  auto groups = sample_groups(*policy, 3, 4, sampling_of(1));
  const auto initial = tiny_policy();
  const std::vector<float> weights(initial->parameters().values().begin(),
                                   initial->parameters().values().end());
  auto constant = groups;
  for (Group& group : constant) {
    for (Sample& sample : group.samples) sample.reward = 0.1f;
  }
  assign_advantages(constant, {});
  const Outcome nothing = train_once(constant, {});
  CHECK(nothing.weights == weights);
  CHECK(nothing.report.updates == 0);
  CHECK(nothing.report.forward_rows == 0);

  // One constant group counts in the normaliser, and only there.
  for (Sample& sample : groups[1].samples) sample.reward = 0.1f;
  assign_advantages(groups, {});
  std::vector<Group> without = {groups[0], groups[2]};
  const double with_it = train_once(groups, {}).report.stats.loss,
               alone = train_once(without, {}).report.stats.loss;
  CHECK(with_it == doctest::Approx(alone * 2 / 3));
}

TEST_CASE("a gradient that is not finite leaves weights and version alone") {
  const auto policy = tiny_policy();
  auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  groups[0].samples[0].advantage = std::numeric_limits<double>::infinity();
  const Outcome outcome = train_once(groups, {});
  CHECK(!std::isfinite(outcome.report.grad_norm));
  CHECK(outcome.report.updates == 0);
  const auto initial = tiny_policy();
  CHECK(std::equal(outcome.weights.begin(), outcome.weights.end(),
                   initial->parameters().values().begin()));
}

TEST_CASE("masked samples have no loss") {
  const auto policy = tiny_policy();
  auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  groups[0].samples[2].masked = true;
  assign_advantages(groups, {});
  auto without = groups;
  without[0].samples.erase(without[0].samples.begin() + 2);
  const Outcome a = train_once(groups, {}), b = train_once(without, {});
  CHECK(a.weights == b.weights);
  CHECK(a.report.stats.tokens == b.report.stats.tokens);
}

TEST_CASE("a frozen router keeps its weights, and a trained one does not") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 3, 4, sampling_of(1));
  for (bool train : {true, false}) {
    TrainerConfig config;
    config.train_router = train;
    const Outcome outcome = train_once(groups, config);
    const auto initial = tiny_policy();
    bool moved = false, others = false;
    for (const ParameterInfo& info : initial->parameters().infos()) {
      const auto before = initial->parameters().view(info);
      const bool same =
          std::equal(before.begin(), before.end(), outcome.weights.begin() + info.offset);
      (info.name.ends_with("mlp.gate.weight") ? moved : others) |= !same;
    }
    CHECK(moved == train);
    CHECK(others);
  }
}

TEST_CASE("recomputed activations give the same weights, bit for bit") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  TrainerConfig config;
  config.recompute = true;
  CHECK(train_once(groups, config).weights == train_once(groups, {}).weights);
}

TEST_CASE("frozen parameters keep their values, and the others learn as if nothing were frozen") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 3, 4, sampling_of(1));
  const auto train = [&](std::vector<std::string> freeze) {
    auto trained = tiny_policy();
    TrainerConfig config;
    config.freeze = std::move(freeze);
    OptimizerConfig optimizer;
    optimizer.max_grad_norm = 0;  // the norm is that of the trainable gradients
    Trainer trainer(*trained, nullptr, config, {}, optimizer, 9, 10, kMaxTokens, 1);
    trainer.update(groups, 0);
    return trained;
  };
  const auto all = train({});
  for (const std::vector<std::string>& freeze :
       {std::vector<std::string>{"embed_tokens", "layers.0."},
        {"self_attn"},
        {"layers.0.", "layers.1."}}) {
    const auto some = train(freeze);
    for (const ParameterInfo& info : all->parameters().infos()) {
      const auto before = policy->parameters().view(info), after = some->parameters().view(info),
                 whole = all->parameters().view(info);
      bool frozen = false;
      for (const std::string& part : freeze) frozen |= info.name.find(part) != std::string::npos;
      CAPTURE(info.name);
      CHECK(std::equal(after.begin(), after.end(), frozen ? before.begin() : whole.begin()));
    }
  }
  TrainerConfig config;
  config.freeze = {"layers.77."};
  const auto make = [&] { Trainer(*tiny_policy(), nullptr, config, {}, {}, 9, 10, kMaxTokens, 1); };
  CHECK_THROWS_WITH_AS(make(), doctest::Contains("layers.77."), Error);
  config.freeze = {"weight"};
  CHECK_THROWS_WITH_AS(make(), doctest::Contains("nothing to train"), Error);
}

TEST_CASE("the report holds what the last update of a sample saw") {
  const auto policy = tiny_policy();
  auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  groups[1].samples[2].masked = true;
  TrainerConfig twice;
  twice.inner_epochs = 2;
  LossConfig loss;
  loss.beta = 0.1;
  const StepReport report = train_once(groups, twice, loss, 1, tiny_policy()).report;
  int absent = 0;
  for (const auto& group : report.trained) {
    for (const TrainedSample& trained : group) absent += trained.logprobs.empty();
  }
  CHECK(absent == 1);
  CHECK(report.trained[1][2].logprobs.empty());
  const Sample& sample = groups[0].samples[0];
  const TrainedSample& trained = report.trained[0][0];
  CHECK(trained.logprobs != sample.logprobs);
  CHECK(largest_difference(trained.logprobs, sample.logprobs) < 1);
  CHECK(trained.reference_logprobs == sample.logprobs);  // the reference is the sampling policy
}

TEST_CASE("selection bias: moved against the load, used by the next forward, saved") {
  const std::filesystem::path fixture = "tests/data/parity/deepseek_v3";
  auto policy = Policy::load(fixture);
  const auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  TrainerConfig config;
  config.router_bias_rate = 0.125;
  OptimizerConfig still;
  still.lr = 0;
  Trainer trainer(*policy, nullptr, config, {}, still, 9, 10, kMaxTokens, 1);
  const StepReport report = trainer.update(groups, 0);
  CHECK(policy->weights()->version() == 1);
  REQUIRE(static_cast<int>(report.expert_load.size()) == policy->config().moe_layers());
  const auto initial = Policy::load(fixture);
  size_t layer = 0, moved = 0;
  for (const ParameterInfo& info : policy->parameters().infos()) {
    const auto before = initial->parameters().view(info), after = policy->parameters().view(info);
    if (!info.name.ends_with("e_score_correction_bias")) {
      CHECK(std::equal(before.begin(), before.end(), after.begin()));
      continue;
    }
    const auto& load = report.expert_load[layer++];
    int64_t total = 0;
    for (const int64_t n : load) total += n;
    for (size_t e = 0; e < load.size(); ++e) {
      const int64_t excess = load[e] * static_cast<int64_t>(load.size()) - total;
      const float step = excess > 0 ? -0.125f : excess < 0 ? 0.125f : 0.0f;
      CHECK(after[e] == before[e] + step);
      moved += step != 0;
    }
  }
  CHECK(moved > 0);
  // The next samples are routed by the new biases: training meets the same log-probs again.
  const auto next = sample_groups(*policy, 2, 4, sampling_of(1));
  CHECK(trainer.update(next, 1).logp_difference_max == 0);
  // The old ones no longer fit.
  CHECK(trainer.update(groups, 2).logp_difference_max > 0);
  const TemporaryFolder folder;
  policy->save(folder.path());
  const auto saved = Policy::load(folder.path());
  CHECK(std::equal(saved->parameters().values().begin(), saved->parameters().values().end(),
                   policy->parameters().values().begin()));

  const auto none = [&] { Trainer(*tiny_policy(), nullptr, config, {}, {}, 9, 10, kMaxTokens, 1); };
  CHECK_THROWS_WITH_AS(none(), doctest::Contains("no selection bias"), Error);
}

TEST_CASE("KL: zero against the policy itself, and a pull towards another reference") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  LossConfig loss;
  loss.beta = 0.1;
  const Outcome same = train_once(groups, {}, loss, 1, tiny_policy());
  CHECK(same.report.stats.kl == 0);
  CHECK(same.weights == train_once(groups, {}).weights);
  const Outcome other = train_once(groups, {}, loss, 1, tiny_policy(6));
  CHECK(other.report.stats.kl > 0);
  CHECK(other.weights != same.weights);
}

TEST_CASE("reference refresh makes the reference the current policy") {
  const auto sampler = tiny_policy();
  const auto groups = sample_groups(*sampler, 2, 4, sampling_of(1));
  auto policy = tiny_policy();
  TrainerConfig config;
  config.reference_refresh = 2;
  LossConfig loss;
  loss.beta = 0.1;
  Trainer trainer(*policy, tiny_policy(), config, loss, {}, 9, 10, kMaxTokens, 1);
  CHECK(trainer.update(groups, 0).stats.kl == 0);
  CHECK(trainer.update(groups, 1).stats.kl > 0);
  CHECK(trainer.update(groups, 2).stats.kl == 0);
}

TEST_CASE("entropy bonus raises entropy, top_entropy_quantile keeps the right share") {
  const auto policy = tiny_policy();
  auto groups = sample_groups(*policy, 2, 4, sampling_of(1));
  for (Group& group : groups) {
    for (Sample& sample : group.samples) sample.advantage = 0;
  }
  LossConfig loss;
  loss.entropy_coef = 1;
  auto trained = tiny_policy();
  OptimizerConfig optimizer;
  optimizer.lr = 1e-3;
  Trainer trainer(*trained, nullptr, {}, loss, optimizer, 9, 10, kMaxTokens, 1);
  const double before = trainer.update(groups, 0).entropy_sum;
  const double after = trainer.update(groups, 1).entropy_sum;
  CHECK(after > before);

  groups = sample_groups(*policy, 2, 4, sampling_of(1));
  LossConfig top;
  top.top_entropy_quantile = 0.2;
  const Outcome some = train_once(groups, {}, top), all = train_once(groups, {});
  CHECK(some.weights != all.weights);
  CHECK(some.report.grad_norm < all.report.grad_norm);
}

TEST_CASE("an evaluation of one version beside the update to the next gives what it gives alone") {
  const auto policy = tiny_policy();
  const auto groups = sample_groups(*policy, 4, 5, sampling_of(1));
  const auto tokenizer = load_tokenizer(kTinyBase);
  const auto task = make_task("parity", {{"bits", 4}});
  LocalSampler sampler(policy->weights(), tokenizer.get(), {});
  const auto evaluated = [&] {
    std::vector<std::vector<TokenId>> tokens;
    EvalOptions options;
    options.n = 24;
    options.samples = 2;
    options.sampling = sampling_of(1);
    options.on_group = [&](const Group& group) {
      for (const Sample& sample : group.samples) tokens.push_back(sample.tokens);
    };
    evaluate(sampler, *tokenizer, *task, options);
    return tokens;
  };
  const auto alone = evaluated();
  OptimizerConfig optimizer;
  optimizer.lr = 1e-3;
  Trainer trainer(*policy, nullptr, {}, {}, optimizer, 9, 10, kMaxTokens, 1);
  std::vector<std::vector<TokenId>> beside;
  std::thread other([&] { beside = evaluated(); });
  trainer.update(groups, 0);
  other.join();
  CHECK(beside == alone);
  CHECK(policy->weights()->version() == 1);
  const std::span<const float> weights = policy->parameters().values();
  CHECK(train_once(groups, {}).weights == std::vector<float>(weights.begin(), weights.end()));
  sampler.publish(policy->weights());
  CHECK(evaluated() != alone);
}

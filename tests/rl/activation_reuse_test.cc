// Training that takes activations over from sampling must not differ by a bit from training that
// computes them, for any family, cache, batch and loss, and must notice when they are not its own.
#include <doctest/doctest.h>

#include <filesystem>

#include "core/parallel.h"
#include "rl/advantage.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "support.h"
#include "tests/model/support.h"

using namespace zeroth;

namespace {

constexpr int kMaxTokens = 18, kSamples = 4, kGroups = 3;

struct Drawn {
  std::vector<Group> groups;
  Tickets tickets;
};

Drawn sample(const Policy& policy, const EngineConfig& config, int64_t step, ActivationStore* store,
             double temperature = 1, int top_k = 0, int samples = kSamples) {
  LocalSampler engine(policy.weights(), nullptr, config, store);
  std::vector<GenerationRequest> requests(kGroups);
  for (int g = 0; g < kGroups; ++g) {
    for (int t = 0; t < 1 + 17 * g; ++t)
      requests[g].prompt.push_back((t * 7 + 11 * g) % policy.config().vocab_size);
    requests[g].problem = g;
    requests[g].step = static_cast<uint32_t>(step);
    requests[g].samples = samples;
    requests[g].sampling.max_tokens = kMaxTokens;
    requests[g].sampling.temperature = temperature;
    requests[g].sampling.top_k = top_k;
  }
  Drawn out;
  auto samples_of = engine.generate(requests, {.tickets = &out.tickets});
  std::vector<Group>& groups = out.groups;
  groups.resize(kGroups);
  for (int g = 0; g < kGroups; ++g) {
    groups[g].prompt_tokens = requests[g].prompt;
    groups[g].samples = std::move(samples_of[g]);
    for (int i = 0; i < samples; ++i) groups[g].samples[i].reward = i % 2 + 0.25 * (i % 3);
  }
  assign_advantages(groups, {});
  return out;
}

struct Outcome {
  std::vector<float> weights;
  int64_t recalled = 0, rows = 0;
  double worst = 0;
  std::vector<std::vector<int64_t>> load;
};

Outcome train(const std::filesystem::path& model, TrainerConfig config, const EngineConfig& engine,
              int64_t steps = 3, int samples = kSamples) {
  const std::unique_ptr<Policy> policy = Policy::load(model);
  OptimizerConfig optimizer;
  optimizer.lr = 1e-3;
  Trainer trainer(*policy, nullptr, config, {}, optimizer, 9, steps, kMaxTokens, 1);
  Outcome out;
  for (int64_t step = 1; step <= steps; ++step) {
    const auto drawn = sample(*policy, engine, step, trainer.activation_store(), 1, 0, samples);
    const StepReport report = trainer.update(drawn.groups, step, drawn.tickets);
    out.recalled += report.recalled_rows;
    out.rows += report.forward_rows;
    out.worst = std::max(out.worst, report.logp_difference_max);
    out.load = report.expert_load;
  }
  const auto values = policy->parameters().values();
  out.weights.assign(values.begin(), values.end());
  return out;
}

EngineConfig narrow() {  // chunks of prompts, and sequences that lose their pages
  EngineConfig config;
  config.max_batch = 5;
  config.prefill_chunk = 7;
  config.cache_pages = 9;
  return config;
}

}  // namespace

TEST_CASE("every family: the same weights from activations of sampling") {
  const int threads = num_threads();
  set_num_threads(2);
  for (const std::string& family : test::families()) {
    CAPTURE(family);
    const std::filesystem::path model = test::fixture(family);
    TrainerConfig computes, reuses;
    computes.reuse_mb = 0;
    computes.router_aux_coef = reuses.router_aux_coef = 0.01;
    computes.micro_batch_tokens = reuses.micro_batch_tokens = 120;
    computes.leaf_tokens = reuses.leaf_tokens = 60;
    const Outcome own = train(model, computes, narrow());
    const Outcome reused = train(model, reuses, narrow());
    CHECK(own.recalled == 0);
    CHECK(reused.recalled == reused.rows);
    CHECK(reused.worst == 0);
    CHECK(reused.weights == own.weights);
    CHECK(reused.load == own.load);
    // One call for all, and a sample computed again beside it in some steps.
    computes.micro_batch_tokens = reuses.micro_batch_tokens = 8192;
    const Outcome joint = train(model, reuses, {}, 8);
    CHECK(joint.recalled == joint.rows);
    CHECK(joint.worst == 0);
    CHECK(joint.weights == train(model, computes, {}, 8).weights);
    // Rows enough that decoding is cut into slices for the two threads.
    const Outcome many = train(model, reuses, {}, 1, 12);
    CHECK(many.recalled == many.rows);
    CHECK(many.weights == train(model, computes, {}, 1, 12).weights);
  }
  set_num_threads(threads);
}

TEST_CASE("log-probs and entropies of tempered and truncated sampling are taken over as they are") {
  for (const auto& [temperature, top_k] : {std::pair{0.7, 0}, {1.0, 5}, {1.4, 3}}) {
    CAPTURE(temperature);
    CAPTURE(top_k);
    StepReport reports[2];
    std::vector<float> weights[2];
    for (const int reuse : {0, 1}) {
      const auto policy = tiny_policy();
      TrainerConfig config;
      config.reuse_mb = 64 * reuse;
      LossConfig loss;
      loss.entropy_coef = 0.01;
      Trainer trainer(*policy, nullptr, config, loss, {}, 9, 10, kMaxTokens, temperature);
      const auto drawn = sample(*policy, {}, 1, trainer.activation_store(), temperature, top_k);
      reports[reuse] = trainer.update(drawn.groups, 1, drawn.tickets);
      const auto values = policy->parameters().values();
      weights[reuse].assign(values.begin(), values.end());
      CHECK(reports[reuse].recalled_rows == reuse * reports[reuse].forward_rows);
    }
    CHECK(reports[0].entropy_sum == reports[1].entropy_sum);
    CHECK(reports[0].stats.loss == reports[1].stats.loss);
    CHECK(weights[0] == weights[1]);
  }
}

TEST_CASE("activations are taken only while they are those of the weights") {
  const auto policy = tiny_policy();
  TrainerConfig config;
  config.inner_epochs = 2;
  Trainer trainer(*policy, nullptr, config, {}, {}, 9, 10, kMaxTokens, 1);
  const auto drawn = sample(*policy, {}, 1, trainer.activation_store());
  const StepReport report = trainer.update(drawn.groups, 1, drawn.tickets);
  CHECK(report.updates == 2);
  CHECK(report.recalled_rows == report.forward_rows / 2);  // the second epoch has other weights
  // The same samples again: their rows are gone, whether or not new ones have their numbers.
  CHECK(trainer.update(drawn.groups, 2, drawn.tickets).recalled_rows == 0);
  const auto others = sample(*policy, {}, 3, trainer.activation_store());
  CHECK(trainer.update(drawn.groups, 3, drawn.tickets).recalled_rows == 0);
  // Rows of weights that were replaced without an update.
  const auto fresh = sample(*policy, {}, 4, trainer.activation_store());
  policy->parameters().values()[0] += 1;
  policy->publish(policy->weights()->version());
  CHECK(trainer.update(fresh.groups, 4, fresh.tickets).recalled_rows == 0);
}

TEST_CASE("log-probs that are not the policy's are noticed among recalled rows too") {
  const auto policy = tiny_policy();
  const auto difference = [&](int64_t step, size_t sample_index) {
    OptimizerConfig still;
    still.lr = 0;
    Trainer trainer(*policy, nullptr, {}, {}, still, 9, 10, kMaxTokens, 1);
    auto drawn = sample(*policy, {}, step, trainer.activation_store());
    drawn.groups[sample_index / kSamples].samples[sample_index % kSamples].logprobs[3] -= 0.5f;
    return trainer.update(drawn.groups, step, drawn.tickets).logp_difference_max;
  };
  const size_t last = kGroups * kSamples - 1;
  CHECK(difference(1, 0) == doctest::Approx(0.5));  // among the 64 of every call
  // Others when it is their turn to be computed again: about one in (calls between) * samples.
  int noticed = 0;
  constexpr int kSteps = 200;
  for (int step = 1; step <= kSteps; ++step) {
    const double found = difference(step, last);
    CHECK((found == 0 || found == doctest::Approx(0.5)));
    noticed += found > 0;
  }
  MESSAGE(noticed << " of " << kSteps << " steps");
  CHECK(noticed > 0);
  CHECK(noticed < kSteps / kSamples);
}

TEST_CASE("a store that is full keeps what it has, and training computes the rest") {
  const std::filesystem::path model = "tests/data/parity/qwen3_moe";
  TrainerConfig some, none;
  some.micro_batch_tokens = none.micro_batch_tokens = 60;
  some.leaf_tokens = none.leaf_tokens = 60;
  none.reuse_mb = 0;
  some.reuse_mb = 1;
  const auto policy = Policy::load(model);
  ActivationStore store(1 << 20);
  store.begin(*policy->weights());
  const int64_t fit = (1 << 20) / store.row_bytes();
  int64_t taken = 0;
  while (store.take() >= 0) ++taken;
  CHECK(taken == fit);
  CHECK(store.bytes() <= 1 << 20);
  const Outcome partly = train(model, some, narrow(), 1, 24);  // rows of the first samples fit
  CHECK(partly.recalled > 0);
  CHECK(partly.recalled < partly.rows);
  CHECK(partly.weights == train(model, none, narrow(), 1, 24).weights);
}

TEST_CASE("switches that leave nothing to take over") {
  const auto policy = tiny_policy();
  const auto store_with = [&](const TrainerConfig& config) {
    return Trainer(*policy, nullptr, config, {}, {}, 9, 10, kMaxTokens, 1).activation_store() !=
           nullptr;
  };
  TrainerConfig config;
  CHECK(store_with(config));
  config.recompute = true;
  CHECK(!store_with(config));
  config.recompute = false;
  config.reuse_mb = 0;
  CHECK(!store_with(config));
}

TEST_CASE("recall refuses rows that are not there and weights that are not theirs") {
  const auto policy = tiny_policy();
  ActivationStore store(64 << 20);
  store.begin(*policy->weights());
  const std::vector<TokenId> tokens = {5, 6};
  const std::vector<int32_t> positions = {0, 1}, sequence = {0, 0}, pages = {0}, begin = {0, 1};
  const std::vector<kernels::KvWrite> writes = {{0, 0}, {1, 1}};
  const ForwardBatch batch{tokens, positions, sequence, pages, begin, writes};
  KvCache cache(policy->config(), 1);
  std::vector<float> hidden(2 * policy->config().width), again(hidden.size());
  Activations activations, checkpoints(Activations::Mode::kCheckpoint);
  const std::vector<int32_t> rows = {store.take(), store.take()};
  const WeightsPtr weights = policy->weights();
  weights->forward(batch, cache, hidden.data(), {.store = &store, .store_rows = rows});
  weights->recall(batch, cache, again.data(), activations, nullptr, store, rows);
  CHECK(hidden == again);
  const auto recall = [&](std::vector<int32_t> of, Activations& into) {
    policy->weights()->recall(batch, cache, again.data(), into, nullptr, store, of);
  };
  CHECK_THROWS_AS(recall({0, 2}, activations), Error);
  CHECK_THROWS_AS(recall({0, -1}, activations), Error);
  CHECK_THROWS_AS(recall({0}, activations), Error);
  CHECK_THROWS_AS(recall({0, 1}, checkpoints), Error);
  policy->publish(1);
  CHECK_THROWS_AS(recall({0, 1}, activations), Error);
}

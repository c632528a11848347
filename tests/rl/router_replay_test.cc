// trainer.router_replay, and the sets of truncated sampling: an update by other weights than those
// that sampled goes the way that sampling went, and one by the same weights is the same bit for bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "policy/packing.h"
#include "rl/advantage.h"
#include "rl/metrics.h"
#include "rl/micro_batch.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "support.h"
#include "tests/model/support.h"

using namespace zeroth;

namespace {

constexpr int kMaxTokens = 12;

struct Drawn {
  std::vector<Group> groups;
  Tickets tickets;
};

Drawn sample(const Policy& policy, bool record = true, int top_k = 0,
             ActivationStore* store = nullptr) {
  EngineConfig engine;
  engine.record_experts = record;
  LocalSampler sampler(policy.weights(), nullptr, engine, store);
  std::vector<GenerationRequest> requests(3);
  for (int g = 0; g < 3; ++g) {
    for (int t = 0; t < 1 + 9 * g; ++t)
      requests[g].prompt.push_back((t * 5 + g) % policy.config().vocab_size);
    requests[g].problem = g;
    requests[g].samples = 4;
    requests[g].sampling.max_tokens = kMaxTokens;
    requests[g].sampling.top_k = top_k;
  }
  Drawn out;
  auto samples = sampler.generate(requests, {.tickets = &out.tickets});
  out.groups.resize(3);
  for (int g = 0; g < 3; ++g) {
    out.groups[g].prompt_tokens = requests[g].prompt;
    out.groups[g].samples = std::move(samples[g]);
    for (int i = 0; i < 4; ++i) out.groups[g].samples[i].reward = i % 2;
  }
  assign_advantages(out.groups, {});
  return out;
}

std::unique_ptr<Policy> policy_of(const std::string& family) {
  return Policy::load(test::fixture(family));
}

// The weights of some updates later, as far as tests are concerned.
std::unique_ptr<Policy> moved(const std::string& family) {
  auto policy = policy_of(family);
  for (const ParameterInfo& info : policy->parameters().infos()) {
    Rng rng(6, static_cast<uint32_t>(info.offset));
    for (float& w : policy->parameters().view(info)) w += static_cast<float>(0.05 * rng.normal());
  }
  policy->publish(1);
  return policy;
}

struct Outcome {
  std::vector<float> weights;
  StepReport report;
};

Outcome train(std::unique_ptr<Policy> policy, const Drawn& drawn, const TrainerConfig& config,
              const LossConfig& loss = {}, std::unique_ptr<Policy> reference = nullptr) {
  OptimizerConfig optimizer;
  optimizer.lr = 1e-3;
  Trainer trainer(*policy, std::move(reference), config, loss, optimizer, 9, 10, kMaxTokens, 1);
  Outcome out;
  out.report = trainer.update(drawn.groups, 0);
  const auto values = policy->parameters().values();
  out.weights.assign(values.begin(), values.end());
  return out;
}

// Hidden rows that predict the tokens of a sample, by `routing` ([rows, moe layers, top_k], or
// empty).
std::vector<float> hidden_of(const Weights& weights, const Group& group, const Sample& sample,
                             std::vector<uint16_t> routing) {
  std::vector<TokenId> tokens = group.prompt_tokens;
  tokens.insert(tokens.end(), sample.tokens.begin(), sample.tokens.end() - 1);
  PackedBatch packed;
  packed.add(tokens);
  packed.finish();
  const PolicyConfig& c = weights.config();
  KvCache cache(c, packed.pages());
  std::vector<float> hidden(packed.rows() * c.width);
  ForwardBatch view = packed.view();
  view.recorded = {routing, true};
  weights.forward(view, cache, hidden.data());
  hidden.erase(hidden.begin(), hidden.begin() + (group.prompt_tokens.size() - 1) * c.width);
  return hidden;
}

std::vector<float> logprobs_of(const Weights& weights, const Group& group, const Sample& sample,
                               bool replay) {
  std::vector<uint16_t> routing;
  if (replay) {
    routing.assign(sample.prompt_experts.begin(), sample.prompt_experts.end());
    routing.insert(routing.end(), sample.experts.begin(), sample.experts.end());
    const int k = weights.config().router.top_k;
    for (size_t at = 0; at < routing.size(); at += k)
      std::sort(routing.begin() + at, routing.begin() + at + k);
  }
  const auto hidden = hidden_of(weights, group, sample, routing);
  const std::vector<float> temperatures(sample.tokens.size(), 1.0f);
  std::vector<float> out(sample.tokens.size());
  weights.logprobs(hidden.data(), static_cast<int64_t>(out.size()), sample.tokens.data(),
                   temperatures.data(), {}, out.data(), nullptr);
  return out;
}

const char* const kFamilies[] = {"qwen3_moe", "olmoe", "mixtral", "deepseek_v2", "deepseek_v3"};

TrainerConfig replays() {
  TrainerConfig config;
  config.router_replay = true;
  return config;
}

}  // namespace

TEST_CASE("one update by the weights that sampled: replayed routing is that of the routers") {
  for (const char* family : kFamilies) {
    CAPTURE(family);
    Drawn drawn = sample(*policy_of(family));
    const Outcome live = train(policy_of(family), drawn, {});
    // As if other weights had sampled: else nothing would be replayed.
    for (Group& group : drawn.groups) {
      for (Sample& s : group.samples) s.versions[0].version = -1;
    }
    const RoutingChange& change = live.report.routing;
    CHECK(change.rows == live.report.forward_rows);
    CHECK(change.changed_choices == 0);
    CHECK(change.changed_rows == 0);
    TrainerConfig config = replays();
    for (const int64_t rows : {60, 8192}) {
      config.micro_batch_tokens = rows;
      const Outcome replayed = train(policy_of(family), drawn, config);
      CHECK(replayed.weights == live.weights);
      CHECK(replayed.report.logp_difference_max == 0);
      CHECK(replayed.report.routing == change);
      config.recompute = !config.recompute;
    }
    // Taken over from sampling.
    auto policy = policy_of(family);
    OptimizerConfig optimizer;
    optimizer.lr = 1e-3;
    Trainer trainer(*policy, nullptr, replays(), {}, optimizer, 9, 10, kMaxTokens, 1);
    const Drawn kept = sample(*policy, true, 0, trainer.activation_store());
    const StepReport report = trainer.update(kept.groups, 0, kept.tickets);
    CHECK(report.recalled_rows == report.forward_rows);
    CHECK(report.routing == change);
    const auto values = policy->parameters().values();
    CHECK(std::equal(values.begin(), values.end(), live.weights.begin()));
  }
}

TEST_CASE("by other weights every sample goes where it went when it was drawn, and routers learn") {
  for (const char* family : kFamilies) {
    CAPTURE(family);
    const Drawn drawn = sample(*policy_of(family));
    const Outcome live = train(moved(family), drawn, {});
    const Outcome replayed = train(moved(family), drawn, replays());
    CHECK(live.report.routing.changed_choices > 0);
    CHECK(replayed.report.routing.changed_choices > 0);
    const Json row = update_metrics(live.report, {});
    CHECK(row.at("moe/routing_changed/choices") > 0);
    CHECK(row.at("moe/routing_changed/choices") <= row.at("moe/routing_changed/tokens"));
    CHECK(row.at("moe/routing_changed/tokens") <= 1);
    CHECK(replayed.report.routing.choices == live.report.routing.choices);
    CHECK(replayed.weights != live.weights);
    const auto before = moved(family);
    for (size_t g = 0; g < drawn.groups.size(); ++g) {
      for (size_t i = 0; i < drawn.groups[g].samples.size(); ++i) {
        const Group& group = drawn.groups[g];
        const Sample& sample = group.samples[i];
        CHECK(replayed.report.trained[g][i].logprobs ==
              logprobs_of(*before->weights(), group, sample, true));
        CHECK(live.report.trained[g][i].logprobs ==
              logprobs_of(*before->weights(), group, sample, false));
      }
    }
    for (const ParameterInfo& info : before->parameters().infos()) {
      if (info.role != Role::kRouter) continue;
      const auto was = before->parameters().view(info);
      CHECK_FALSE(std::equal(was.begin(), was.end(), replayed.weights.begin() + info.offset));
    }
    // What was not recorded cannot be replayed: routers choose.
    Drawn unknown = drawn;
    for (Group& group : unknown.groups) {
      for (Sample& s : group.samples) s.experts = s.prompt_experts = s.router_confidence = {};
    }
    const Outcome chosen = train(moved(family), unknown, replays());
    CHECK(chosen.weights == live.weights);
    CHECK(chosen.report.routing == RoutingChange{});
    CHECK_FALSE(update_metrics(chosen.report, {}).contains("moe/routing_changed/choices"));
  }
}

TEST_CASE("samples of the weights that are updated are checked by the routers' own choice") {
  const Drawn honest = sample(*policy_of("qwen3_moe"));
  const auto policy = policy_of("qwen3_moe");
  Drawn lie = honest;
  Sample& told = lie.groups[1].samples[2];
  const int k = policy->config().router.top_k;
  for (size_t at = 0; at < told.experts.size(); at += k) {
    for (int i = 0; i < k; ++i) told.experts[at + i] = static_cast<uint8_t>(i);
  }
  told.logprobs = logprobs_of(*policy->weights(), lie.groups[1], told, true);
  REQUIRE(told.logprobs != honest.groups[1].samples[2].logprobs);
  CHECK(train(policy_of("qwen3_moe"), honest, replays()).report.logp_difference_max == 0);
  const StepReport report = train(policy_of("qwen3_moe"), lie, replays()).report;
  CHECK(report.logp_difference_max > 0);
  CHECK(report.routing.changed_choices > 0);
}

TEST_CASE("later updates of a step replay too, and leave calls as they are") {
  const Drawn drawn = sample(*policy_of("qwen3_moe"));
  TrainerConfig config = replays();
  config.inner_epochs = 3;
  config.leaf_tokens = 40;
  const Outcome whole = train(policy_of("qwen3_moe"), drawn, config);
  CHECK(whole.report.updates == 3);
  CHECK(whole.report.routing.rows == whole.report.forward_rows);
  CHECK(whole.report.routing.changed_choices > 0);
  for (const int64_t rows : {16, 100, 300}) {
    config.micro_batch_tokens = rows;
    CHECK(train(policy_of("qwen3_moe"), drawn, config).weights == whole.weights);
  }
  config.router_replay = false;
  CHECK(train(policy_of("qwen3_moe"), drawn, config).weights != whole.weights);
}

TEST_CASE("the proximal policy is replayed as the learning one is, the reference is not") {
  const Drawn drawn = sample(*policy_of("deepseek_v3"));
  LossConfig loss;
  loss.decoupled = true;
  loss.beta = 0.1;
  const Outcome out = train(moved("deepseek_v3"), drawn, replays(), loss, policy_of("deepseek_v3"));
  // Before the first update both are the same policy, so by the same routing every ratio is 1.
  CHECK(out.report.stats.ratio_min == 1);
  CHECK(out.report.stats.ratio_max == 1);
  // The reference is what sampled; had it been another one, its own routers would choose.
  const auto other = moved("deepseek_v3");
  const Outcome of_other =
      train(policy_of("deepseek_v3"), drawn, replays(), loss, moved("deepseek_v3"));
  for (size_t i = 0; i < 4; ++i) {
    const Group& group = drawn.groups[2];
    CHECK(out.report.trained[2][i].reference_logprobs == group.samples[i].logprobs);
    CHECK(of_other.report.trained[2][i].reference_logprobs ==
          logprobs_of(*other->weights(), group, group.samples[i], false));
  }
}

TEST_CASE("samples whose prompt was routed otherwise are leaves of their own, in a replay only") {
  Drawn drawn = sample(*policy_of("qwen3_moe"));
  std::vector<Sample>& samples = drawn.groups[2].samples;
  // As after a switch of weights before the last two were begun.
  const Drawn later = sample(*moved("qwen3_moe"));
  for (const int i : {2, 3}) samples[i].prompt_experts = later.groups[2].samples[i].prompt_experts;
  REQUIRE(samples[2].prompt_experts != samples[1].prompt_experts);
  const std::vector<int32_t> order = {2};
  CHECK(plan_leaves(drawn.groups, order, 1000).size() == 1);
  const auto leaves = plan_leaves(drawn.groups, order, 1000, true);
  REQUIRE(leaves.size() == 2);
  CHECK(leaves[0].samples == std::vector<int32_t>{0, 1});
  CHECK(leaves[1].samples == std::vector<int32_t>{2, 3});
  const auto before = moved("qwen3_moe");
  const Outcome out = train(moved("qwen3_moe"), drawn, replays());
  for (int i = 0; i < 4; ++i)
    CHECK(out.report.trained[2][i].logprobs ==
          logprobs_of(*before->weights(), drawn.groups[2], samples[i], true));
}

TEST_CASE("what replay needs is set or named") {
  const TemporaryFolder folder;
  write_file_atomic(folder.path() / "config.json", R"({"trainer": {"router_replay": true}})");
  const RunConfig config = read_run_config(folder.path() / "config.json", {});
  CHECK(config.engine.record_experts);
  RunConfig without = config;
  without.engine.record_experts = false;
  CHECK_THROWS_WITH_AS(check_run_config(without), doctest::Contains("engine.record_experts"),
                       Error);
  const auto dense = policy_of("llama");
  const auto make = [&] { Trainer(*dense, nullptr, replays(), {}, {}, 9, 10, kMaxTokens, 1); };
  CHECK_THROWS_WITH_AS(make(), doctest::Contains("no router"), Error);
}

TEST_CASE("an update normalises over the set that sampling recorded, whatever the set is now") {
  constexpr int kTopK = 3;
  const Drawn drawn = sample(*policy_of("qwen3"), false, kTopK);
  const auto before = moved("qwen3");
  const Outcome out = train(moved("qwen3"), drawn, {});
  const int vocab = before->config().vocab_size;
  int outside = 0;
  for (size_t g = 0; g < drawn.groups.size(); ++g) {
    const Group& group = drawn.groups[g];
    for (size_t i = 0; i < group.samples.size(); ++i) {
      const Sample& sample = group.samples[i];
      const auto m = static_cast<int64_t>(sample.tokens.size());
      const auto hidden = hidden_of(*before->weights(), group, sample, {});
      std::vector<float> logits(m * vocab);
      before->weights()->logits(hidden.data(), m, logits.data());
      for (int64_t t = 0; t < m; ++t) {
        const float* z = &logits[t * vocab];
        const float own = z[sample.tokens[t]];
        REQUIRE(sample.kept_offsets[t + 1] - sample.kept_offsets[t] == kTopK);
        double sum = 0;
        for (int32_t at = sample.kept_offsets[t]; at < sample.kept_offsets[t + 1]; ++at)
          sum += std::exp(double{z[sample.kept_ids[at]]} - own);
        CHECK(out.report.trained[g][i].logprobs[t] ==
              doctest::Approx(-std::log(sum)).epsilon(1e-5));
        outside += std::count_if(z, z + vocab, [&](float other) { return other > own; }) >= kTopK;
      }
    }
  }
  // Over the set of now these tokens would have no probability at all.
  CHECK(outside > 0);
  CHECK(std::isfinite(out.report.grad_norm));
  CHECK(out.report.updates == 1);
  // The same weights keep the same sets: nothing is lost on-policy.
  CHECK(train(policy_of("qwen3"), drawn, {}).report.logp_difference_max == 0);
}

// Speculative drafts in training: a run with them leaves the bytes of one without, also where
// training takes the activations of sampling over.
#include <doctest/doctest.h>

#include <filesystem>

#include "core/json_lines.h"
#include "rl/advantage.h"
#include "rl/run_folder.h"
#include "rl/train_loop.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "support.h"
#include "tests/model/support.h"

using namespace zeroth;

namespace {

constexpr int kGroups = 3, kSamples = 3, kMaxTokens = 40;

struct Outcome {
  std::vector<float> weights;
  std::vector<std::vector<int64_t>> load;
  int64_t recalled = 0, rows = 0;
  double worst = 0;
};

// Steps that draw nearly the same samples, by one sampler, so that each can be drafted from the one
// before.
Outcome train(const std::filesystem::path& model, const EngineConfig& engine, SamplerStats* stats) {
  const std::unique_ptr<Policy> policy = Policy::load(model);
  OptimizerConfig optimizer;
  optimizer.lr = 1e-5;
  TrainerConfig config;
  config.router_aux_coef = 0.01;
  config.micro_batch_tokens = 200;
  config.leaf_tokens = 100;
  Trainer trainer(*policy, nullptr, config, {}, optimizer, 9, 3, kMaxTokens, 1);
  LocalSampler sampler(policy->weights(), nullptr, engine, trainer.activation_store());
  Outcome out;
  for (int64_t step = 1; step <= 3; ++step) {
    std::vector<GenerationRequest> requests(kGroups);
    std::vector<Group> groups(kGroups);
    for (int g = 0; g < kGroups; ++g) {
      for (int t = 0; t < 1 + 17 * g; ++t)
        requests[g].prompt.push_back((t * 7 + 11 * g) % policy->config().vocab_size);
      requests[g].problem = g;
      requests[g].samples = kSamples;
      requests[g].sampling.max_tokens = kMaxTokens - 7 * g;
      groups[g].prompt_tokens = requests[g].prompt;
    }
    sampler.publish(policy->weights());
    Tickets tickets;
    auto samples = sampler.generate(requests, {.tickets = &tickets});
    for (int g = 0; g < kGroups; ++g) {
      groups[g].samples = std::move(samples[g]);
      for (int i = 0; i < kSamples; ++i) groups[g].samples[i].reward = i % 2 + 0.25 * (i % 3);
    }
    assign_advantages(groups, {});
    const StepReport report = trainer.update(groups, step, tickets);
    out.recalled += report.recalled_rows;
    out.rows += report.forward_rows;
    out.worst = std::max(out.worst, report.logp_difference_max);
    out.load = report.expert_load;
  }
  *stats = sampler.stats();
  const auto values = policy->parameters().values();
  out.weights.assign(values.begin(), values.end());
  return out;
}

}  // namespace

TEST_CASE("every family: the same weights with drafts, from activations of sampling") {
  int64_t given_back = 0;  // rows of the store
  for (const std::string& family : test::families()) {
    CAPTURE(family);
    EngineConfig without, with;
    without.draft_tokens = 0;
    with.draft_batch = 40;
    SamplerStats plain, drafting;
    const Outcome expected = train(test::fixture(family), without, &plain);
    for (const int longest : {3, 12}) {
      with.draft_tokens = longest;
      const Outcome got = train(test::fixture(family), with, &drafting);
      CHECK(drafting.draft_accepted > 50);
      given_back += drafting.draft_tokens - drafting.draft_accepted;
      CHECK(got.weights == expected.weights);
      CHECK(got.load == expected.load);
      CHECK(got.worst == 0);
      CHECK(got.rows == expected.rows);
      CHECK(got.recalled == got.rows);
    }
  }
  CHECK(given_back > 10);
}

TEST_CASE("a run of three steps leaves the same bytes with drafts and without") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 3;
  config.sampling.temperature = 0.08;
  config.sampling.max_tokens = 120;
  config.sampling.stop = {"\n", "zq"};
  config.engine.record_experts = true;
  config.evaluation.every = 1;
  config.evaluation.problems = 4;
  config.probe.every = 1;
  std::vector<Left> left;
  std::vector<double> accepted;
  for (const int longest : {0, 2, 16}) {
    CAPTURE(longest);
    config.engine.draft_tokens = longest;
    config.engine.draft_batch = 64;
    const auto path = folder.path() / std::to_string(longest);
    auto run = TrainingRun::create(path, config);
    CHECK(train(*run).max_logp_difference == 0);
    run.reset();
    left.push_back(left_by(path));
    accepted.push_back(0);
    for_each_json_line(path / "metrics.jsonl", [&](const Json& row, int64_t) {
      const Json& timing = row.at("timing");
      const double tokens = timing.at("draft_accepted"), tried = timing.at("draft_tokens");
      CHECK(tried >= tokens);
      CHECK((timing.at("draft_accepted_per_call") > 0) == (tokens > 0));
      accepted.back() += tokens;
    });
  }
  CHECK(left[1] == left[0]);
  CHECK(left[2] == left[0]);
  CHECK(accepted[0] == 0);
  CHECK(accepted[1] > 20);
  CHECK(accepted[2] > 20);
}

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "model/formats/peft.h"
#include "policy/adapted.h"
#include "rl/checkpoint.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "tests/rl/support.h"

using namespace zeroth;

namespace {

namespace fs = std::filesystem;

constexpr int kMaxTokens = 10;

std::vector<Group> sample_groups(const Policy& policy, int64_t step) {
  LocalSampler engine(policy.weights(), nullptr, {});
  std::vector<GenerationRequest> requests(2);
  for (int g = 0; g < 2; ++g) {
    for (int t = 0; t < 4 + g; ++t) requests[g].prompt.push_back(40 + (t * 5 + g) % 60);
    requests[g].problem = g;
    requests[g].step = static_cast<uint32_t>(step);
    requests[g].samples = 4;
    requests[g].sampling.max_tokens = kMaxTokens;
  }
  auto drawn = engine.generate(requests);
  std::vector<Group> groups(2);
  for (int g = 0; g < 2; ++g) {
    groups[g].prompt_tokens = requests[g].prompt;
    groups[g].samples = std::move(drawn[g]);
    for (int i = 0; i < 4; ++i) groups[g].samples[i].reward = i % 2;
  }
  assign_advantages(groups, {});
  return groups;
}

struct Run {
  std::unique_ptr<Policy> policy = tiny_policy();
  Trainer trainer;
  explicit Run(const LoraConfig& lora, int64_t micro_batch = 8192)
      : trainer(*policy, nullptr, config_of(micro_batch), {}, optimizer(), 9, 10, kMaxTokens, 1,
                nullptr, lora) {}
  static TrainerConfig config_of(int64_t micro_batch) {
    TrainerConfig config;
    config.micro_batch_tokens = micro_batch;
    config.leaf_tokens = 32;
    return config;
  }
  static OptimizerConfig optimizer() {
    OptimizerConfig config;
    config.lr = 1e-2;
    return config;
  }
  StepReport step(int64_t number) { return trainer.update(sample_groups(*policy, number), number); }
  std::vector<float> values() const {
    std::vector<float> all(policy->parameters().values().size());
    policy->read_masters(0, all);
    return all;
  }
};

LoraConfig lora_of(int rank) {
  LoraConfig config;
  config.rank = rank;
  return config;
}

}  // namespace

TEST_CASE("with an adapter sampling and training have the same log-probs, and only it learns") {
  Run run(lora_of(2));
  const std::vector<float> base = run.values();
  for (int64_t step = 0; step < 4; ++step) {
    const StepReport report = run.step(step);
    CHECK(report.updates == 1);
    CHECK(report.logp_difference_max == 0);
  }
  const std::vector<float> now = run.values();
  CHECK(now != base);
  const LowRankUpdate& update = *run.trainer.low_rank();
  for (const ParameterInfo& info : run.policy->parameters().infos()) {
    const bool same = std::equal(now.begin() + info.offset, now.begin() + info.offset + info.count,
                                 base.begin() + info.offset);
    CAPTURE(info.name);
    CHECK(same == (update.adapter().find(info.offset) == nullptr));
  }
  CHECK(run.trainer.optimizer().first_moment().size() ==
        run.trainer.low_rank()->parameters().values().size());
}

TEST_CASE("an adapter's updates do not depend on how samples are dealt to calls") {
  Run one(lora_of(3)), other(lora_of(3), 32);
  for (int64_t step = 0; step < 3; ++step) {
    one.step(step);
    other.step(step);
  }
  CHECK(one.values() == other.values());
}

TEST_CASE("a checkpoint with an adapter goes on with the same bytes, and PEFT's files hold it") {
  const TemporaryFolder folder;
  Run straight(lora_of(2));
  for (int64_t step = 0; step < 4; ++step) straight.step(step);

  const auto tokenizer = load_tokenizer(kTinyBase);
  std::vector<float> merged;
  {
    Run first(lora_of(2));
    for (int64_t step = 0; step < 2; ++step) first.step(step);
    CheckpointSource source{*first.policy, read_tokenizer_files(*tokenizer),
                            first.trainer.optimizer()};
    source.low_rank = first.trainer.low_rank();
    source.base = "models/base";
    save_checkpoint(folder.path(), 2, source, {});
    merged = first.values();
  }
  const auto checkpoint = newest_checkpoint(folder.path());
  REQUIRE(checkpoint);
  Run second(lora_of(2));
  const auto loaded = Policy::load(checkpoint->folder);
  const auto saved = loaded->parameters().values();
  CHECK(std::equal(saved.begin(), saved.end(), merged.begin()));
  restore_trainer(*checkpoint, *second.policy, second.trainer.optimizer(), nullptr, nullptr,
                  second.trainer.low_rank());
  CHECK(second.values() == merged);
  second.policy->publish(checkpoint->optimizer_steps);
  for (int64_t step = 2; step < 4; ++step) second.step(step);
  CHECK(second.values() == straight.values());

  // Another rank, or none, cannot go on from it; all weights cannot become an adapter's.
  Run wider(lora_of(3));
  CHECK_THROWS_WITH_AS(restore_trainer(*checkpoint, *wider.policy, wider.trainer.optimizer(),
                                       nullptr, nullptr, wider.trainer.low_rank()),
                       doctest::Contains("optimizer.bin"), Error);
  // The base with the adapter of the checkpoint is the checkpoint.
  const fs::path base = folder.path() / "base";
  make_tiny_base(base);
  const ModelValues again = load_values(base, checkpoint->folder / "adapter");
  const auto values = again.parameters.values();
  CHECK(std::equal(values.begin(), values.end(), merged.begin()));
}

TEST_CASE("the moments of an optimizer that is reset begin again") {
  auto policy = tiny_policy();
  TrainerConfig config;
  config.optimizer_reset = 2;
  Trainer trainer(*policy, nullptr, config, {}, {}, 9, 10, kMaxTokens, 1);
  for (int64_t step = 0; step < 3; ++step) trainer.update(sample_groups(*policy, step), step);
  CHECK(trainer.optimizer().steps() == 3);
  CHECK(trainer.optimizer().moment_steps() == 1);
}

TEST_CASE(
    "over a base in fewer bits: one forward, the base stands still, the checkpoint is exact") {
  const TemporaryFolder folder;
  const fs::path base = make_tiny_base(folder.path() / "base");
  const auto tokenizer = load_tokenizer(kTinyBase);
  for (const char* bits : {"float32", "bfloat16", "q8_0"}) {
    CAPTURE(bits);
    LoraConfig lora = lora_of(2);
    lora.base = bits;
    const auto policy =
        load_policy(lora, base, kernels::Element::kFloat32, kernels::cpu_operators());
    Trainer trainer(
        *policy, Policy::over(*policy, policy->base()), Run::config_of(8192),
        [] {
          LossConfig loss;
          loss.beta = 0.05;
          return loss;
        }(),
        Run::optimizer(), 9, 10, kMaxTokens, 1, nullptr, lora);
    const FrozenBase before(policy->parameters().infos(), lora.base_bits(), *policy->base());
    for (int64_t step = 0; step < 3; ++step) {
      const StepReport report = trainer.update(sample_groups(*policy, step), step);
      CHECK(report.updates == 1);
      CHECK(report.logp_difference_max == 0);
    }
    for (size_t i = 0; i < before.size(); ++i)
      CHECK(std::ranges::equal(before.bytes(i), std::as_const(*policy->base()).bytes(i)));
    CHECK(std::ranges::all_of(std::as_const(*policy).parameters().values(),
                              [](float x) { return x == 0; }));  // no masters
    CheckpointSource source{*policy, read_tokenizer_files(*tokenizer), trainer.optimizer()};
    source.low_rank = trainer.low_rank();
    source.base = base.string();
    const fs::path run = folder.path() / bits;
    save_checkpoint(run, 3, source, {});
    // The checkpoint, and the base with the adapter of the checkpoint, are what was published.
    const fs::path saved = newest_checkpoint(run)->folder;
    CHECK(load_weights(saved)->sha256() == policy->weights()->sha256());
    CHECK(load_adapted_weights(base, saved / "adapter")->sha256() == policy->weights()->sha256());
    CHECK(adapter_bits(saved / "adapter") == lora.base_bits());
    CHECK(fs::file_size(saved / "lora_base.bin") == [&] {
      size_t bytes = 0;
      for (const auto part : trainer.low_rank()->base()) bytes += part.size();
      return bytes;
    }());
    // It rests and wakes with the same weights, and one that shares the base has it in common.
    const std::string hash = policy->weights()->sha256();
    trainer.rest();
    CHECK(policy->weights() == nullptr);
    trainer.wake();
    CHECK(policy->weights()->sha256() == hash);
    CHECK(trainer.reference()->base() == policy->base());
    // A learner over other bits than the adapter's is refused.
    LoraConfig other;
    other.adapter = (saved / "adapter").string();
    other.base = std::string(bits) == "q8_0" ? "bfloat16" : "q8_0";
    CHECK_THROWS_WITH_AS(make_adapter(other, *policy, 1), doctest::Contains("lora.base"), Error);
  }
  LoraConfig none;
  none.base = "q8_0";
  CHECK_THROWS_WITH_AS(none.check(), doctest::Contains("lora.base"), Error);
}

// Sampling ahead: which weights a step's samples come from, and what a checkpoint keeps of it.
#include "rl/rollout_pipeline.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/interrupted.h"
#include "rl/rollout_codec.h"
#include "rollout/local_sampler.h"
#include "support.h"

namespace zeroth {
namespace {

Rollout made_rollout() {
  Rollout rollout;
  Group group;
  group.problem = {"task", "id-7", "prompt \xff", "answer", {{"deep", {1, {2, {3.5}}}}}};
  group.prompt_tokens = {1, 2, 3};
  group.zero_variance = true;
  Sample sample;
  sample.key = {UINT64_MAX, 2, 3, 4};
  sample.tokens = {5, 6};
  sample.logprobs = {-0.1f, -1e-38f};
  sample.entropies = {0.25f, 1.f / 3};
  sample.kept_ids = {1};
  sample.kept_offsets = {0, 1, 1};
  sample.experts = {1, 2};
  sample.router_confidence = {3};
  sample.prompt_experts = {7, 0};
  sample.versions = {{0, 4}, {1, 5}};
  sample.finish = FinishReason::kLength;
  sample.text = "a\xf0\x9f";
  sample.verdicts = {{"accuracy", 1. / 3, 2, Reason::kWrong, "x\xff", {{"tries", 3}}}};
  sample.reward = 0.1;
  sample.masked = true;
  sample.advantage = -1. / 7;
  group.samples = {sample};
  rollout.groups = {group};
  rollout.discarded = {group, group};
  rollout.rounds = 3;
  rollout.prompt_tokens = 11;
  rollout.sampled_tokens = 22;
  rollout.skipped_prompts = 1;
  rollout.level = 2;
  rollout.draws = 44;
  return rollout;
}

TEST_CASE("rollouts come back bit for bit") {
  std::map<int64_t, Rollout> some;
  some[7] = made_rollout();
  some[9] = {};
  const std::string bytes = pack_rollouts(some);
  const auto back = unpack_rollouts(bytes, "test");
  CHECK(pack_rollouts(back) == bytes);
  REQUIRE(back.size() == 2);
  const Rollout& rollout = back.at(7);
  const Sample& sample = rollout.groups[0].samples[0];
  CHECK(sample.key.seed == UINT64_MAX);
  CHECK(sample.logprobs == some[7].groups[0].samples[0].logprobs);
  CHECK(sample.prompt_experts == std::vector<uint8_t>{7, 0});
  CHECK(sample.versions == some[7].groups[0].samples[0].versions);
  CHECK(sample.text == some[7].groups[0].samples[0].text);
  CHECK(sample.advantage == -1. / 7);
  CHECK(sample.verdicts[0].score == 1. / 3);
  CHECK(sample.verdicts[0].info == Json{{"tries", 3}});
  CHECK(rollout.groups[0].problem.meta == some[7].groups[0].problem.meta);
  CHECK(rollout.discarded.size() == 2);
  CHECK(rollout.tickets[0].size() == 1);
  CHECK(rollout.draws == 44);
}

TEST_CASE("bytes that are no rollouts are refused") {
  std::map<int64_t, Rollout> some;
  some[7] = made_rollout();
  const std::string bytes = pack_rollouts(some);
  for (size_t n = 0; n < bytes.size(); n += 7)
    CHECK_THROWS_AS(unpack_rollouts(bytes.substr(0, n), "test"), Error);
  CHECK_THROWS_AS(unpack_rollouts("\x91\x01", "test"), Error);
}

}  // namespace
}  // namespace zeroth

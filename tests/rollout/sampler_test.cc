// What everybody who stands on a Sampler may rely on, of the local and of the scripted one.
#include "rollout/sampler.h"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "policy/activation_store.h"
#include "rollout/local_sampler.h"
#include "rollout/scripted_sampler.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

GenerationRequest request_of(int prompt, int samples, int max_tokens) {
  GenerationRequest request;
  for (int i = 0; i < prompt; ++i) request.prompt.push_back(2 + (i * 7) % (kTinyVocab - 2));
  request.seed = 5;
  request.samples = samples;
  request.sampling.max_tokens = max_tokens;
  return request;
}

// Token t of sample i is 10 i + t.
Sample counted(const GenerationRequest&, int index, const WeightsPtr&) {
  Sample sample;
  for (int t = 0; t < 6; ++t) sample.tokens.push_back(10 * index + t);
  return sample;
}

std::vector<std::unique_ptr<Sampler>> both(const WeightsPtr& weights) {
  std::vector<std::unique_ptr<Sampler>> out;
  out.push_back(std::make_unique<LocalSampler>(weights, nullptr, EngineConfig()));
  out.push_back(std::make_unique<ScriptedSampler>(counted));
  out.back()->publish(weights);
  return out;
}

std::vector<TokenId> tokens_of(const std::vector<std::vector<Sample>>& samples) {
  std::vector<TokenId> out;
  for (const auto& group : samples) {
    for (const Sample& sample : group)
      out.insert(out.end(), sample.tokens.begin(), sample.tokens.end());
  }
  return out;
}

TEST_CASE("samples come back by index, with key, version and one report each") {
  const auto policy = tiny_policy("moe");
  for (const auto& sampler : both(policy->publish(4))) {
    const std::vector<GenerationRequest> requests = {request_of(5, 3, 4), request_of(9, 2, 7)};
    std::vector<int> reports(5, 0);
    const auto samples =
        sampler->generate(requests, {.done = [&](int request, int index, const Sample& sample) {
                            ++reports[3 * request + index];
                            CHECK(sample.key.sample == static_cast<uint32_t>(index));
                          }});
    REQUIRE(samples.size() == 2);
    CHECK(reports == std::vector<int>(5, 1));
    for (size_t r = 0; r < 2; ++r) {
      REQUIRE(samples[r].size() == static_cast<size_t>(requests[r].samples));
      for (const Sample& sample : samples[r]) {
        CHECK(sample.versions == std::vector<VersionSegment>{{0, 4}});
        CHECK(static_cast<int>(sample.tokens.size()) <= requests[r].sampling.max_tokens);
        CHECK(sample.logprobs.size() == sample.tokens.size());
        CHECK(sample.entropies.size() == sample.tokens.size());
      }
    }
    CHECK(sampler->stats().sampled_tokens == static_cast<int64_t>(tokens_of(samples).size()));
  }
}

TEST_CASE("weights that are published while samples are generated are those of the next call") {
  const auto policy = tiny_policy("dense");
  const WeightsPtr first = policy->weights();
  for (float& value : policy->parameters().values()) value *= 1.1f;
  const WeightsPtr second = policy->publish(1);
  for (const auto& sampler : both(first)) {
    const auto request = request_of(6, 4, 20);
    const auto alone = sampler->generate({request});
    const auto beside = sampler->generate(
        {request}, {.done = [&](int, int, const Sample&) { sampler->publish(second); }});
    CHECK(tokens_of(beside) == tokens_of(alone));
    CHECK(beside[0][3].versions == std::vector<VersionSegment>{{0, 0}});
    CHECK(sampler->generate({request})[0][0].versions == std::vector<VersionSegment>{{0, 1}});
  }
}

TEST_CASE("a call beside which versions are published samples with the bits of its own") {
  const auto policy = tiny_policy("moe");
  const std::vector<float> base(policy->parameters().values().begin(),
                                policy->parameters().values().end());
  // Versions v and v + 5 have the same values.
  const auto publish = [&](int version) {
    for (size_t i = 0; i < base.size(); ++i)
      policy->parameters().values()[i] = base[i] * (1 + 0.1f * static_cast<float>(version % 5));
    return policy->publish(version);
  };
  LocalSampler sampler(policy->weights(), nullptr, {});
  const auto request = request_of(6, 4, 12);
  std::atomic<bool> done{false};
  std::atomic<int> calls{0};
  std::vector<std::pair<WeightsVersion, std::vector<TokenId>>> sampled;
  std::thread reader([&] {
    while (!done) {
      const auto samples = sampler.generate({request});
      sampled.emplace_back(first_version(samples[0][0]), tokens_of(samples));
      ++calls;
    }
  });
  for (int version = 1; version < 20 || calls < 4; ++version) sampler.publish(publish(version));
  done = true;
  reader.join();
  CHECK(sampled.back().first > 0);
  std::vector<std::vector<TokenId>> expected;
  for (int version = 0; version < 5; ++version) {
    sampler.publish(publish(version));
    expected.push_back(tokens_of(sampler.generate({request})));
  }
  CHECK(expected[0] != expected[4]);
  for (const auto& [version, tokens] : sampled) CHECK(tokens == expected[version % 5]);
}

TEST_CASE("weights that were let go of are nobody's, and nothing is sampled without any") {
  for (const int which : {0, 1}) {
    const auto policy = tiny_policy("dense");
    const auto sampler = std::move(both(policy->weights())[which]);
    const std::weak_ptr<const Weights> watched = policy->weights();
    sampler->publish(nullptr);
    CHECK_THROWS_AS(sampler->generate({request_of(3, 1, 2)}), Error);
    policy->publish(1);
    CHECK(watched.expired());
    sampler->publish(policy->weights());
    CHECK(sampler->generate({request_of(3, 1, 2)})[0][0].tokens.size() == 2);
  }
}

TEST_CASE("cancelled samples keep what they have and say so") {
  const auto policy = tiny_policy("dense");
  for (const auto& sampler : both(policy->weights())) {
    std::atomic<bool> cancel{false};
    int reported = 0;
    const auto samples =
        sampler->generate({request_of(4, 1, 3), request_of(4, 3, 40)},
                          {.cancel = &cancel, .done = [&](int, int, const Sample&) {
                             cancel = true;
                             ++reported;
                           }});
    CHECK(reported == 1);
    CHECK(samples[0][0].finish != FinishReason::kAborted);
    REQUIRE(samples[1].size() == 3);
    for (const Sample& sample : samples[1]) {
      CHECK(sample.finish == FinishReason::kAborted);
      CHECK(sample.tokens.size() < 40);
      CHECK(sample.versions.size() == 1);
    }
  }
}

TEST_CASE("weights of another model are refused") {
  const auto policy = tiny_policy("dense");
  LocalSampler sampler(policy->weights(), nullptr, {});
  CHECK_THROWS_WITH_AS(sampler.publish(tiny_policy("latent")->weights()),
                       doctest::Contains("another model"), Error);
  CHECK(sampler.generate({request_of(3, 1, 2)})[0][0].tokens.size() == 2);
}

TEST_CASE("only the local sampler fills tickets, and only when it has a store and is asked") {
  const auto policy = tiny_policy("dense");
  const auto request = request_of(5, 2, 6);
  for (const auto& sampler : both(policy->weights())) {
    Tickets tickets;
    sampler->generate({request}, {.tickets = &tickets});
    REQUIRE(tickets.size() == 1);
    REQUIRE(tickets[0].size() == 2);
    CHECK(tickets[0][1].rows.empty());
  }
  ActivationStore store(16 << 20);
  LocalSampler sampler(policy->weights(), nullptr, {}, &store);
  sampler.generate({request});
  CHECK(store.rows() == 0);
  Tickets tickets;
  const auto samples = sampler.generate({request}, {.tickets = &tickets});
  CHECK(tickets[0][0].rows.size() == 5 + samples[0][0].tokens.size() - 1);
  CHECK(tickets[0][0].epoch == store.epoch());
}

TEST_CASE("a script sees requests in order, and is cut at max_tokens") {
  ScriptedSampler sampler(counted);
  const auto samples = sampler.generate({request_of(2, 2, 4), request_of(2, 1, 9)});
  CHECK(samples[0][1].tokens == std::vector<TokenId>{10, 11, 12, 13});
  CHECK(samples[0][1].finish == FinishReason::kLength);
  CHECK(samples[1][0].tokens.size() == 6);
  CHECK(samples[1][0].finish == FinishReason::kStop);
  CHECK(sampler.published().empty());
}

}  // namespace
}  // namespace zeroth

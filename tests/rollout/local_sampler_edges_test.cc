// Ends of completions, the stop flag, and requests that must be refused.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <string>

#include "core/error.h"
#include "rollout/local_sampler.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

GenerationRequest request_of(int prompt, int samples, int max_tokens) {
  GenerationRequest request;
  for (int i = 0; i < prompt; ++i) request.prompt.push_back(2 + i * 7 % 90);
  request.samples = samples;
  request.sampling.max_tokens = max_tokens;
  return request;
}

std::vector<Sample> group_of(Sampler& engine, const GenerationRequest& request,
                             const std::atomic<bool>* stop = nullptr) {
  return engine.generate({request}, {.cancel = stop})[0];
}

std::string error_of(const Policy& policy, const GenerationRequest& request,
                     EngineConfig config = {}) {
  const LetterTokenizer tokenizer;
  try {
    LocalSampler(policy.weights(), &tokenizer, config).generate({request});
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kUsage);
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a completion ends at end-of-text, at a stop string or at the limit") {
  const auto policy = tiny_policy("dense");
  const LetterTokenizer tokenizer;
  LocalSampler engine(policy->weights(), &tokenizer, {});
  GenerationRequest request = request_of(5, 64, 40);
  request.sampling.temperature = 3;
  int ends[3] = {};
  for (const Sample& sample : group_of(engine, request)) {
    ++ends[static_cast<int>(sample.finish)];
    const bool eos = sample.tokens.back() == 1;
    CHECK(eos == (sample.finish == FinishReason::kStop));
    CHECK((eos || sample.tokens.size() == 40));
    CHECK(sample.logprobs.size() == sample.tokens.size());
    CHECK(sample.entropies.size() == sample.tokens.size());
    CHECK(sample.text == tokenizer.decode(sample.tokens, true));
  }
  CHECK(ends[0] > 0);
  CHECK(ends[1] > 0);

  request.sampling.stop = {"e", "zz"};
  int stopped = 0;
  for (const Sample& sample : group_of(engine, request)) {
    CHECK_FALSE(contains(sample.text, "e"));
    CHECK_FALSE(contains(sample.text, "zz"));
    const std::string all = tokenizer.decode(sample.tokens, true);
    const bool found = contains(all, "e") || contains(all, "zz");
    stopped += found;
    if (found) CHECK(sample.finish == FinishReason::kStop);
    CHECK(all.compare(0, sample.text.size(), sample.text) == 0);
  }
  CHECK(stopped > 10);
}

TEST_CASE("the context of the policy ends a completion") {
  const auto policy = tiny_policy("dense");
  LocalSampler engine(policy->weights(), nullptr, {});
  const auto samples = engine.generate({request_of(250, 2, 100)});
  for (const Sample& sample : samples[0]) {
    CHECK(sample.tokens.size() == 6);
    CHECK(sample.finish == FinishReason::kLength);
    CHECK(sample.text.empty());
  }
}

TEST_CASE("the stop flag ends at a step boundary and keeps what there is") {
  const auto policy = tiny_policy("moe");
  EngineConfig config;
  config.max_batch = 4;
  LocalSampler engine(policy->weights(), nullptr, config);
  const std::vector<GenerationRequest> requests = {request_of(9, 3, 5), request_of(20, 6, 30)};
  const auto whole = engine.generate(requests);
  std::atomic<bool> stop{false};
  int finished = 0;
  const auto done = [&](int request, int, const Sample& sample) {
    CHECK(request == 0);
    CHECK(sample.finish == FinishReason::kLength);
    if (++finished == 3) stop = true;
  };
  const auto cut = engine.generate(requests, {.cancel = &stop, .done = done});
  CHECK(finished == 3);
  bool some = false;
  for (int s = 0; s < 6; ++s) {
    const Sample& sample = cut[1][s];
    CHECK(sample.finish == FinishReason::kAborted);
    CHECK(sample.tokens.size() < 30);
    CHECK(std::equal(sample.tokens.begin(), sample.tokens.end(), whole[1][s].tokens.begin()));
    some |= !sample.tokens.empty();
  }
  CHECK(some);
  for (int s = 0; s < 3; ++s) CHECK(cut[0][s].tokens == whole[0][s].tokens);

  stop = true;
  for (const Sample& sample : group_of(engine, request_of(9, 3, 5), &stop)) {
    CHECK(sample.finish == FinishReason::kAborted);
    CHECK(sample.tokens.empty());
  }
}

TEST_CASE("samples are reported once each, in an order that repeats") {
  const auto policy = tiny_policy("dense");
  const LetterTokenizer tokenizer;
  std::vector<std::vector<std::pair<int, int>>> orders;
  for (int run = 0; run < 2; ++run) {
    EngineConfig config;
    config.max_batch = 5;
    LocalSampler engine(policy->weights(), &tokenizer, config);
    std::vector<std::pair<int, int>> order;
    GenerationRequest hot = request_of(4, 8, 30);
    hot.sampling.temperature = 4;
    const auto done = [&](int request, int sample, const Sample&) {
      order.emplace_back(request, sample);
    };
    const auto results = engine.generate({hot, request_of(3, 4, 6)}, {.done = done});
    CHECK(results.size() == 2);
    orders.push_back(order);
  }
  CHECK(orders[0].size() == 12);
  CHECK(orders[0] == orders[1]);
}

TEST_CASE("diverged weights are an error and leave nothing behind") {
  const auto policy = tiny_policy("moe");
  LocalSampler engine(policy->weights(), nullptr, {});
  const GenerationRequest request = request_of(20, 4, 20);
  const auto before = engine.generate({request});
  float& weight = policy->parameters().values()[2000];
  const float good = weight;
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    weight = bad;
    engine.publish(policy->publish(3));
    GenerationRequest touching = request;
    for (int i = 0; i < kTinyVocab; ++i) touching.prompt.push_back(i);
    std::string message;
    try {
      engine.generate({touching});
    } catch (const Error& error) {
      CHECK(error.code() == ExitCode::kFailed);
      message = error.what();
    }
    CHECK(contains(message, "version 3"));
    weight = good;
    engine.publish(policy->publish(0));
    const auto after = engine.generate({request});
    for (int s = 0; s < 4; ++s) {
      CHECK(after[0][s].tokens == before[0][s].tokens);
      CHECK(after[0][s].logprobs == before[0][s].logprobs);
    }
  }
}

TEST_CASE("nothing to do is fine") {
  const auto policy = tiny_policy("dense");
  LocalSampler engine(policy->weights(), nullptr, {});
  CHECK(engine.generate({}).empty());
  CHECK(engine.generate({request_of(3, 0, 5)})[0].empty());
  CHECK(engine.stats().sampled_tokens == 0);
}

TEST_CASE("requests that cannot be served are refused with their numbers") {
  const auto policy = tiny_policy("dense");
  EngineConfig tight;
  tight.cache_pages = 3;
  const std::string message = error_of(*policy, request_of(30, 1, 25), tight);
  CHECK(contains(message, "prompt of 30 tokens"));
  CHECK(contains(message, "needs 4 cache pages"));
  CHECK(contains(message, "the cache has 3"));
  CHECK(contains(message, "raise cache_pages"));
  CHECK(error_of(*policy, request_of(30, 1, 19), tight).empty());  // exactly full

  CHECK(contains(error_of(*policy, request_of(256, 1, 5)), "context of 256"));
  CHECK(contains(error_of(*policy, request_of(0, 1, 5)), "no tokens"));
  CHECK(contains(error_of(*policy, request_of(3, -1, 5)), "samples is -1"));
  GenerationRequest request = request_of(3, 1, 5);
  request.prompt[1] = kTinyVocab;
  CHECK(contains(error_of(*policy, request), "prompt token 96"));
  request.prompt[1] = -1;
  CHECK(contains(error_of(*policy, request), "prompt token -1"));
  request = request_of(3, 1, 5);
  request.sampling.temperature = std::nan("");
  CHECK(contains(error_of(*policy, request), "temperature is nan"));
  request.sampling.temperature = 1;
  request.sampling.top_p = 0;
  CHECK(contains(error_of(*policy, request), "top_p is 0"));
  request.sampling.top_p = 1;
  request.sampling.stop = {""};
  CHECK(contains(error_of(*policy, request), "stop string is empty"));
  request.sampling.stop = {"x"};
  CHECK_THROWS_AS(LocalSampler(policy->weights(), nullptr, {}).generate({request}), Error);

  EngineConfig config;
  config.max_batch = 0;
  CHECK(contains(error_of(*policy, request_of(3, 1, 5), config), "max_batch is 0"));
  config = {};
  config.cache_mb = 1;
  config.cache_pages = 100000;
  CHECK(contains(error_of(*policy, request_of(3, 1, 5), config), "exceed cache_mb = 1"));
}

}  // namespace
}  // namespace zeroth

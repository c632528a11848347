// Requests with long samples begin first: fewer forward calls, the same samples under the same
// numbers.
#include "rollout/start_order.h"

#include <doctest/doctest.h>

#include <map>
#include <numeric>

#include "rollout/local_sampler.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

using Order = std::vector<size_t>;

std::vector<GenerationRequest> expecting(const std::vector<double>& tokens) {
  std::vector<GenerationRequest> requests(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) requests[i].expected_tokens = tokens[i];
  return requests;
}

// Prompts of their own, most of whose samples are short and a few long.
std::vector<GenerationRequest> mixed(int count) {
  std::vector<GenerationRequest> requests(count);
  for (int i = 0; i < count; ++i) {
    for (int t = 0; t < 3 + i % 5; ++t) requests[i].prompt.push_back(2 + (i * 11 + t * 7) % 90);
    requests[i].seed = 9;
    requests[i].problem = static_cast<uint32_t>(i);
    requests[i].samples = 2;
    requests[i].sampling.temperature = 3;
    requests[i].sampling.max_tokens = 60;
    requests[i].sampling.stop = {"e", "h", "k"};
  }
  return requests;
}

double mean_length(const std::vector<Sample>& samples) {
  double sum = 0;
  for (const Sample& sample : samples) sum += static_cast<double>(sample.tokens.size());
  return sum / static_cast<double>(samples.size());
}

void check_same(const std::vector<std::vector<Sample>>& a,
                const std::vector<std::vector<Sample>>& b) {
  REQUIRE(a.size() == b.size());
  for (size_t r = 0; r < a.size(); ++r) {
    REQUIRE(a[r].size() == b[r].size());
    for (size_t s = 0; s < a[r].size(); ++s) {
      CHECK(a[r][s].tokens == b[r][s].tokens);
      CHECK(a[r][s].logprobs == b[r][s].logprobs);
      CHECK(a[r][s].text == b[r][s].text);
      CHECK(a[r][s].key.problem == b[r][s].key.problem);
      CHECK(a[r][s].key.sample == b[r][s].key.sample);
    }
  }
}

TEST_CASE("the longest expected come first, the unknown count as the mean") {
  CHECK(longest_first(expecting({})) == Order{});
  CHECK(longest_first(expecting({0, 0, 0})) == Order{0, 1, 2});
  CHECK(longest_first(expecting({5, 9, 7})) == Order{1, 2, 0});
  CHECK(longest_first(expecting({4, 4, 4})) == Order{0, 1, 2});
  CHECK(longest_first(expecting({2, 0, 10, 0})) == Order{2, 1, 3, 0});
  auto requests = expecting({40, 30, 0});
  requests[0].sampling.max_tokens = 20;  // it cannot be as long as it was
  CHECK(longest_first(requests) == Order{2, 1, 0});
}

TEST_CASE("with the lengths known a batch takes fewer forward calls, and no sample changes") {
  const auto policy = tiny_policy("dense");
  const LetterTokenizer tokenizer;
  EngineConfig config;
  config.max_batch = 6;
  auto requests = mixed(24);
  const auto run = [&](bool longest, int64_t& calls) {
    config.longest_first = longest;
    LocalSampler engine(policy->weights(), &tokenizer, config);
    std::map<std::pair<int, int>, std::vector<TokenId>> told;
    size_t drawn = 0;
    const auto samples = engine.generate(
        requests, {.done =
                       [&](int request, int sample, const Sample& of) {
                         CHECK(told.emplace(std::pair(request, sample), of.tokens).second);
                       },
                   .drew =
                       [&](int request, int sample, const Sample& of) {
                         drawn += of.key.problem == static_cast<uint32_t>(request) &&
                                  of.key.sample == static_cast<uint32_t>(sample);
                         return true;
                       }});
    size_t tokens = 0;
    for (size_t r = 0; r < samples.size(); ++r) {
      for (size_t s = 0; s < samples[r].size(); ++s) {
        tokens += samples[r][s].tokens.size();
        CHECK(told.at({static_cast<int>(r), static_cast<int>(s)}) == samples[r][s].tokens);
      }
    }
    CHECK(drawn == tokens);
    calls = engine.stats().forward_calls;
    return samples;
  };
  int64_t before = 0, unknown = 0, known = 0, off = 0;
  const auto samples = run(false, before);
  check_same(run(true, unknown), samples);
  CHECK(unknown == before);
  for (size_t r = 0; r < requests.size(); ++r)
    requests[r].expected_tokens = mean_length(samples[r]);
  check_same(run(true, known), samples);
  check_same(run(false, off), samples);
  CHECK(off == before);
  MESSAGE("forward calls: ", before, " in the order given, ", known, " longest first");
  CHECK(known < before);
}

TEST_CASE("requests that join together keep their numbers") {
  const auto policy = tiny_policy("dense");
  const LetterTokenizer tokenizer;
  EngineConfig config;
  config.max_batch = 4;
  auto requests = mixed(9);
  const auto all = LocalSampler(policy->weights(), &tokenizer, config).generate(requests);
  for (size_t r = 0; r < requests.size(); ++r) requests[r].expected_tokens = mean_length(all[r]);
  LocalSampler engine(policy->weights(), &tokenizer, config);
  std::vector<std::vector<Sample>> told(requests.size(), std::vector<Sample>(2));
  int asked = 0;
  GenerateOptions options;
  options.weights = WeightsUse::kNewest;
  options.more = [&](WeightsVersion) -> std::vector<GenerationRequest> {
    ++asked;
    if (asked == 1) return {requests.begin() + 3, requests.begin() + 6};
    if (asked == 5) return {requests.begin() + 6, requests.end()};
    return {};
  };
  options.done = [&](int request, int sample, const Sample& of) { told[request][sample] = of; };
  engine.generate({requests.begin(), requests.begin() + 3}, options);
  check_same(told, all);
}

}  // namespace
}  // namespace zeroth

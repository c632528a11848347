// Weights that change while samples are drawn: every token is a function of (weights that drew it,
// tokens before it, key), so a sample can be gone on with, and drawn again, anywhere.
#include <doctest/doctest.h>

#include "core/error.h"
#include "policy/packing.h"
#include "rollout/local_sampler.h"
#include "rollout/resample.h"
#include "tests/rollout/check_same.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

std::vector<GenerationRequest> some_requests() {
  std::vector<GenerationRequest> requests;
  for (const int length : {3, 16, 21, 40}) {
    GenerationRequest request;
    for (int i = 0; i < length; ++i)
      request.prompt.push_back(static_cast<TokenId>(2 + (7 * i + length) % 90));
    request.seed = 31;
    request.problem = static_cast<uint32_t>(requests.size());
    request.samples = 2 + length % 4;
    request.sampling.max_tokens = 20 + length % 17;
    if (length == 16) request.sampling.top_k = 12;
    if (length == 21) request.sampling.stop = {"ab", "q"};
    requests.push_back(request);
  }
  return requests;
}

// Versions 0, 1, 2, .. of one model.
std::vector<WeightsPtr> made_versions(const char* model, int count) {
  auto policy = tiny_policy(model);
  std::vector<WeightsPtr> out = {policy->weights()};
  for (int version = 1; version < count; ++version) {
    for (float& value : policy->parameters().values()) value *= 1.03f;
    out.push_back(policy->publish(version));
  }
  return out;
}

EngineConfig engine_of(const char* model, int max_batch, int64_t pages) {
  EngineConfig config;
  config.record_experts = std::string(model) == "moe";
  config.max_batch = max_batch;
  config.cache_pages = pages;
  config.prefill_chunk = 13;
  return config;
}

TEST_CASE("a sample that was begun goes on to the same end") {
  const LetterTokenizer tokenizer;
  for (const char* model : {"dense", "moe"}) {
    CAPTURE(model);
    const WeightsPtr weights = made_versions(model, 1)[0];
    const auto requests = some_requests();
    LocalSampler whole(weights, &tokenizer, engine_of(model, 64, 0));
    const Results expected = whole.generate(requests);
    for (const int pages : {0, 14}) {
      LocalSampler parts(weights, &tokenizer, engine_of(model, 5, pages));
      GenerateOptions cut;
      cut.drew = [](int request, int sample, const Sample& so_far) {
        return so_far.tokens.size() < static_cast<size_t>(1 + (5 * request + 3 * sample) % 16);
      };
      Results begun = parts.generate(requests, cut);
      auto rest = requests;
      int unfinished = 0;
      for (size_t r = 0; r < rest.size(); ++r) {
        // One sample of each request has not been begun.
        begun[r][0] = {};
        for (size_t s = 1; s < begun[r].size(); ++s) {
          if (begun[r][s].finish != FinishReason::kAborted) begun[r][s] = {};
          unfinished += !begun[r][s].tokens.empty();
        }
        rest[r].begun = begun[r];
      }
      CHECK(unfinished > 3);
      check_same(parts.generate(rest), expected);
    }
  }
}

TEST_CASE("weights that are switched in flight: segments, and the same samples drawn again") {
  const LetterTokenizer tokenizer;
  for (const char* model : {"dense", "moe"}) {
    CAPTURE(model);
    const auto versions = made_versions(model, 4);
    const auto requests = some_requests();
    LocalSampler engine(versions[0], &tokenizer, engine_of(model, 7, 20));
    GenerateOptions options;
    options.weights = WeightsUse::kSwitch;
    int drawn = 0;
    options.drew = [&](int, int, const Sample&) {
      if (++drawn % 60 == 0 && drawn / 60 < 4) engine.publish(versions[drawn / 60]);
      return true;
    };
    const Results switched = engine.generate(requests, options);
    size_t most = 0;
    std::vector<std::vector<SamplePlan>> plans;
    for (const auto& samples : switched) {
      plans.emplace_back();
      for (const Sample& sample : samples) {
        most = std::max(most, sample.versions.size());
        plans.back().push_back(plan_of(sample));
        CHECK(sample.versions[0].first == 0);
        CHECK(sample.versions.back().first < static_cast<int32_t>(sample.tokens.size()));
      }
    }
    CHECK(most >= 3);
    LocalSampler other(versions[0], &tokenizer, engine_of(model, 64, 0));
    const auto of = [&](WeightsVersion version) { return versions[version]; };
    check_same(resample(other, requests, plans, of), switched);
    // It is not the same as drawing on with the old weights, ...
    CHECK_FALSE(same_bytes(other.generate(requests)[3][0].logprobs, switched[3][0].logprobs));
    // ... nor as cutting a segment one token later.
    for (auto& of_request : plans) {
      for (SamplePlan& plan : of_request) {
        if (plan.versions.size() > 1 && plan.versions[1].first + 1 < plan.tokens &&
            (plan.versions.size() == 2 || plan.versions[1].first + 1 < plan.versions[2].first))
          ++plan.versions[1].first;
      }
    }
    bool differs = false;
    const Results shifted = resample(other, requests, plans, of);
    for (size_t r = 0; r < shifted.size(); ++r) {
      for (size_t s = 0; s < shifted[r].size(); ++s)
        differs = differs || !same_bytes(shifted[r][s].logprobs, switched[r][s].logprobs);
    }
    CHECK(differs);
  }
}

TEST_CASE("requests that join begin with the newest weights and keep them") {
  const LetterTokenizer tokenizer;
  const auto versions = made_versions("dense", 3);
  const auto requests = some_requests();
  LocalSampler engine(versions[0], &tokenizer, engine_of("dense", 4, 0));
  Results got(requests.size());
  std::vector<WeightsVersion> begun;
  GenerateOptions options;
  options.weights = WeightsUse::kNewest;
  int drawn = 0;
  options.drew = [&](int, int, const Sample&) {
    // In the middle of a request.
    if (++drawn == 5) engine.publish(versions[1]);
    if (drawn == 60) engine.publish(versions[2]);
    return true;
  };
  options.more = [&](WeightsVersion version) {
    std::vector<GenerationRequest> out;
    if (begun.size() < requests.size() && drawn % 3 == 0) {
      out.push_back(requests[begun.size()]);
      got[begun.size()].resize(out[0].samples);
      begun.push_back(version);
    }
    return out;
  };
  options.done = [&](int request, int sample, const Sample& whole) {
    got[request][sample] = whole;
  };
  while (begun.size() < requests.size()) {
    drawn += drawn % 3 == 0 ? 0 : 1;
    engine.generate({}, options);
  }
  CHECK(begun.front() == 0);
  CHECK(begun.back() == 2);
  for (size_t r = 0; r < requests.size(); ++r) {
    CAPTURE(r);
    for (const Sample& sample : got[r])
      CHECK(sample.versions == std::vector<VersionSegment>{{0, begun[r]}});
    LocalSampler alone(versions[begun[r]], &tokenizer, engine_of("dense", 64, 0));
    check_same(Results{got[r]}, alone.generate({requests[r]}));
  }
}

TEST_CASE("samples that cannot be gone on with are refused") {
  const LetterTokenizer tokenizer;
  LocalSampler engine(made_versions("dense", 1)[0], &tokenizer, {});
  GenerationRequest request = some_requests()[0];
  Sample sample;
  sample.tokens = {5, 6};
  sample.logprobs = sample.entropies = {0, 0};
  const auto refused = [&](const Sample& begun, const char* why) {
    GenerationRequest bad = request;
    bad.begun.assign(bad.samples, begun);
    CHECK_THROWS_WITH_AS(engine.generate({bad}), doctest::Contains(why), Error);
  };
  request.begun = {sample};
  CHECK_THROWS_WITH_AS(engine.generate({request}), doctest::Contains("are wanted"), Error);
  request.begun.clear();
  Sample other = sample;
  other.tokens[1] = 1 << 20;
  refused(other, "cannot be gone on with");
  other = sample;
  other.logprobs.pop_back();
  refused(other, "cannot be gone on with");
  other = sample;
  other.tokens.assign(request.sampling.max_tokens, 5);
  other.logprobs.assign(request.sampling.max_tokens, 0);
  other.entropies = other.logprobs;
  refused(other, "cannot be gone on with");
}

}  // namespace
}  // namespace zeroth

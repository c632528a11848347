// Speculative drafts change how many forward calls samples take and nothing else: the same bytes
// with them and without, for every kind of model, cache, way to sample and end.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "rollout/local_sampler.h"
#include "rollout/resample.h"
#include "tests/model/support.h"
#include "tests/rollout/check_same.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

// Greedy ones and cool ones fall into loops, hot ones do not; prompts that end at a page and that
// quote themselves; ends by limit, end-of-text and stop string.
std::vector<GenerationRequest> mixed_requests(int vocabulary) {
  std::vector<GenerationRequest> requests;
  for (const int length : {1, 6, 15, 16, 17, 33, 48}) {
    GenerationRequest request;
    for (int i = 0; i < length; ++i)
      request.prompt.push_back(static_cast<TokenId>(2 + (5 * i + i * i / 9) % (vocabulary - 2)));
    request.seed = 5;
    request.problem = static_cast<uint32_t>(requests.size());
    request.samples = 1 + length % 4;
    request.sampling.max_tokens = 50 + length % 7;
    const double temperatures[] = {0, 0.3, 1, 0.5};
    request.sampling.temperature = temperatures[requests.size() % 4];
    if (length == 6) request.sampling.top_k = 5;
    if (length == 16) request.sampling.top_p = 0.9;
    if (length == 33) request.sampling.min_p = 0.05;
    requests.push_back(request);
  }
  return requests;
}

EngineConfig engine(int draft_tokens, int draft_batch = 64) {
  EngineConfig config;
  config.draft_tokens = draft_tokens;
  config.draft_batch = draft_batch;
  return config;
}

// Two rounds by one sampler, so that the second has the first to draft from.
Results two_rounds(LocalSampler& sampler, std::vector<GenerationRequest> requests) {
  Results out = sampler.generate(requests);
  for (GenerationRequest& request : requests) ++request.step;
  for (auto& samples : sampler.generate(requests)) out.push_back(std::move(samples));
  return out;
}

void check_model(const Policy& policy, const Tokenizer* tokenizer,
                 const std::vector<GenerationRequest>& requests) {
  EngineConfig off = engine(0);
  off.record_experts = policy.config().moe_layers() > 0;
  LocalSampler plain(policy.weights(), tokenizer, off);
  const Results expected = two_rounds(plain, requests);
  CHECK(plain.stats().draft_tokens == 0);
  int64_t accepted = 0;
  for (const int longest : {1, 5, 40}) {
    for (const int batch : {3, 256}) {
      CAPTURE(longest);
      CAPTURE(batch);
      EngineConfig config = engine(longest);
      config.record_experts = off.record_experts;
      config.max_batch = batch;
      if (longest == 5) {
        config.cache_pages = 12;
        config.prefill_chunk = 11;
      }
      LocalSampler drafting(policy.weights(), tokenizer, config);
      check_same(two_rounds(drafting, requests), expected);
      const SamplerStats& with = drafting.stats();
      CHECK(with.sampled_tokens == plain.stats().sampled_tokens);
      CHECK(with.draft_tokens >= with.draft_accepted);
      accepted += with.draft_accepted;
    }
  }
  CHECK(accepted > 50);  // else it tested nothing
}

TEST_CASE("the same samples with drafts: dense, experts, latent, tied, windows, chunks") {
  const LetterTokenizer tokenizer;
  auto requests = mixed_requests(kTinyVocab);
  requests[3].sampling.stop = {"ab", "q"};
  requests[6].sampling.stop = {"zz"};
  const std::vector<std::pair<std::string, Json>> changes = {
      {"dense", Json::object()},
      {"moe", Json::object()},
      {"latent", Json::object()},
      {"dense", {{"tie_word_embeddings", true}}},
      {"dense",
       {{"architectures", {"MistralForCausalLM"}},
        {"model_type", "mistral"},
        {"sliding_window", 9}}},
      {"dense",
       {{"architectures", {"Qwen2ForCausalLM"}},
        {"model_type", "qwen2"},
        {"dual_chunk_attention_config", {{"chunk_size", 21}, {"local_size", 5}}}}}};
  for (const auto& [kind, change] : changes) {
    CAPTURE(kind);
    CAPTURE(change.dump());
    check_model(*tiny_policy(kind, 3, change), &tokenizer, requests);
  }
}

TEST_CASE("the same samples with drafts: every family, float32 and bfloat16") {
  std::vector<std::filesystem::path> models;
  for (const std::string& family : test::families()) models.push_back(test::fixture(family));
  for (const char* variant : {"qwen2_window", "mixtral_window"})
    models.push_back(std::filesystem::path("tests/data/parity_variants") / variant);
  for (const auto& model : models) {
    for (const auto element : {kernels::Element::kFloat32, kernels::Element::kBfloat16}) {
      CAPTURE(model.string());
      CAPTURE(static_cast<int>(element));
      const auto policy = Policy::load(model, element);
      auto requests = mixed_requests(policy->config().vocab_size);
      for (GenerationRequest& request : requests) request.sampling.temperature = 0;
      requests[2].sampling.temperature = 1;
      check_model(*policy, nullptr, requests);
    }
  }
}

TEST_CASE("a text that was sampled before takes a fraction of the calls") {
  const auto policy = tiny_policy("moe");
  GenerationRequest request;
  request.prompt = {4, 8, 15, 16, 23, 42};
  request.samples = 2;
  request.sampling.max_tokens = 120;
  LocalSampler sampler(policy->weights(), nullptr, engine(8, 20));
  const Results first = sampler.generate({request});
  const SamplerStats before = sampler.stats();
  check_same(sampler.generate({request}), first);
  const SamplerStats& after = sampler.stats();
  const int64_t accepted = after.draft_accepted - before.draft_accepted;
  const int64_t tried = after.draft_tokens - before.draft_tokens;
  CHECK(accepted > 180);  // of 240
  CHECK(accepted > tried * 3 / 4);
  CHECK(after.forward_calls - before.forward_calls < (before.forward_calls + 120) / 3);
  // Other weights agree with little of it, and are not led astray.
  auto others = tiny_policy("moe", 4);
  sampler.publish(others->weights());
  LocalSampler plain(others->weights(), nullptr, engine(0));
  check_same(sampler.generate({request}), plain.generate({request}));
}

TEST_CASE("drafts rest while the batch is large") {
  const auto policy = tiny_policy("dense");
  GenerationRequest request;
  request.prompt = {4, 8, 15};
  request.samples = 6;
  request.sampling.max_tokens = 40;
  request.sampling.temperature = 0;
  LocalSampler sampler(policy->weights(), nullptr, engine(8, 11));
  sampler.generate({request});
  sampler.generate({request});
  CHECK(sampler.stats().draft_tokens == 0);
  --request.samples;
  sampler.generate({request});
  CHECK(sampler.stats().draft_tokens > 0);
}

TEST_CASE("the same samples with drafts where weights are switched, and samples gone on with") {
  const LetterTokenizer tokenizer;
  for (const char* kind : {"dense", "moe", "latent"}) {
    CAPTURE(kind);
    auto policy = tiny_policy(kind);
    std::vector<WeightsPtr> versions = {policy->weights()};
    for (int version = 1; version < 4; ++version) {
      for (float& value : policy->parameters().values()) value *= 1.02f;
      versions.push_back(policy->publish(version));
    }
    auto requests = mixed_requests(kTinyVocab);
    for (GenerationRequest& request : requests) {
      if (request.problem % 3 > 0) request.sampling.temperature = 0;
      request.sampling.max_tokens = 120;
    }
    EngineConfig config = engine(6);
    config.max_batch = 4;
    LocalSampler sampler(versions[0], &tokenizer, config);
    sampler.generate(requests);
    GenerateOptions options;
    options.weights = WeightsUse::kSwitch;
    int drawn = 0;
    options.drew = [&](int, int, const Sample&) {
      if (++drawn % 40 == 0 && drawn / 40 < 4) sampler.publish(versions[drawn / 40]);
      return true;
    };
    const int64_t before = sampler.stats().draft_accepted;
    const Results switched = sampler.generate(requests, options);
    CHECK(sampler.stats().draft_accepted > before + 20);
    size_t most = 0;
    std::vector<std::vector<SamplePlan>> plans;
    for (const auto& samples : switched) {
      plans.emplace_back();
      for (const Sample& sample : samples) {
        plans.back().push_back(plan_of(sample));
        most = std::max(most, sample.versions.size());
      }
    }
    CHECK(most >= 3);
    // Segment by segment, each cut by drew() in the middle of what may be a draft.
    const auto of = [&](WeightsVersion version) { return versions[version]; };
    LocalSampler plain(versions[0], &tokenizer, engine(0)),
        other(versions[0], &tokenizer, engine(9));
    check_same(resample(plain, requests, plans, of), switched);
    check_same(resample(other, requests, plans, of), switched);
    check_same(resample(other, requests, plans, of), switched);
  }
}

TEST_CASE("requests that join, and whose samples are let go of") {
  const LetterTokenizer tokenizer;
  const auto policy = tiny_policy("dense");
  const auto requests = mixed_requests(kTinyVocab);
  LocalSampler plain(policy->weights(), &tokenizer, engine(0));
  const Results expected = plain.generate(requests);
  LocalSampler sampler(policy->weights(), &tokenizer, engine(6));
  for (int round = 0; round < 2; ++round) {
    Results got(requests.size());
    size_t joined = 0;
    int asked = 0;
    GenerateOptions options;
    options.more = [&](WeightsVersion) {
      std::vector<GenerationRequest> out;
      if (joined < requests.size() && asked++ % 5 == 0) {
        got[joined].resize(requests[joined].samples);
        out.push_back(requests[joined++]);
      }
      return out;
    };
    options.done = [&](int request, int index, const Sample& sample) {
      got[request][index] = sample;
    };
    sampler.generate({}, options);
    check_same(got, expected);
  }
  CHECK(sampler.stats().draft_accepted > 50);
}

// A token's row of a tensor [vocabulary, ..].
std::span<float> row_of(Policy& policy, const char* tensor, TokenId token) {
  Parameters& parameters = policy.parameters();
  const ParameterInfo& info = parameters.info(tensor);
  return parameters.view(info).subspan(token * info.shape[1], info.shape[1]);
}

TEST_CASE("a guess that leads to what is not finite leaves nothing behind") {
  auto policy = tiny_policy("dense");
  GenerationRequest request;
  request.prompt = {4, 8, 15, 16, 23, 42};
  request.samples = 2;
  request.sampling.max_tokens = 60;
  request.sampling.temperature = 0;
  LocalSampler sampler(policy->weights(), nullptr, engine(8));
  const std::vector<TokenId> path = sampler.generate({request})[0][0].tokens;
  sampler.generate({request});
  // A token of that path which these weights do not draw, and cannot take.
  size_t at = 12;
  while (std::find(path.begin(), path.begin() + static_cast<long>(at), path[at]) !=
         path.begin() + static_cast<long>(at))
    ++at;
  REQUIRE(at < path.size());
  for (float& value : row_of(*policy, "lm_head.weight", path[at])) value = 0;
  for (float& value : row_of(*policy, "model.embed_tokens.weight", path[at]))
    value = std::numeric_limits<float>::infinity();
  policy->publish(1);
  LocalSampler plain(policy->weights(), nullptr, engine(0));
  const Results expected = plain.generate({request});
  sampler.publish(policy->weights());
  const int64_t before = sampler.stats().draft_accepted;
  check_same(sampler.generate({request}), expected);
  CHECK(sampler.stats().draft_accepted > before);
  check_same(sampler.generate({request}), expected);
  // Where it is drawn, it is an error as ever.
  request.prompt.push_back(path[at]);
  CHECK_THROWS_WITH_AS(sampler.generate({request}), doctest::Contains("have diverged"), Error);
}

TEST_CASE("settings of drafts out of range are refused by name") {
  const auto policy = tiny_policy("dense");
  const auto error_of = [&](EngineConfig config) {
    try {
      LocalSampler(policy->weights(), nullptr, config);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(error_of(engine(-1)).find("draft_tokens is -1") != std::string::npos);
  CHECK(error_of(engine(1, 0)).find("draft_batch is 0") != std::string::npos);
  EngineConfig config;
  config.draft_mb = -1;
  CHECK(error_of(config).find("draft_mb is -1") != std::string::npos);
}

}  // namespace
}  // namespace zeroth

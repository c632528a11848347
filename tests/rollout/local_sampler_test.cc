// The engine's promise, tested with == on bytes: a trace depends only on weights, prompt, key and
// sampling, and its log-probs are those of one teacher-forced forward call.
#include "rollout/local_sampler.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <random>

#include "core/error.h"
#include "core/parallel.h"
#include "core/temporary_folder.h"
#include "kernels/ops.h"
#include "policy/packing.h"
#include "tests/kernels/far_device.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

bool same(const Sample& a, const Sample& b) {
  return a.key == b.key && a.tokens == b.tokens && same_bytes(a.logprobs, b.logprobs) &&
         same_bytes(a.entropies, b.entropies) && a.kept_ids == b.kept_ids &&
         a.kept_offsets == b.kept_offsets && a.experts == b.experts &&
         a.prompt_experts == b.prompt_experts && a.router_confidence == b.router_confidence &&
         a.versions == b.versions && a.finish == b.finish && a.text == b.text;
}

using Results = std::vector<std::vector<Sample>>;

bool same(const Results& a, const Results& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    for (size_t s = 0; s < a[i].size(); ++s) {
      if (!same(a[i][s], b[i][s])) return false;
    }
  }
  return true;
}

// Prompts of lengths around page boundaries; every way to sample.
std::vector<GenerationRequest> mixed_requests() {
  std::mt19937 random(21);
  std::vector<GenerationRequest> requests;
  for (const int length : {1, 7, 15, 16, 17, 32, 45, 64}) {
    GenerationRequest request;
    request.prompt.resize(length);
    for (TokenId& token : request.prompt) token = static_cast<TokenId>(2 + random() % 90);
    request.seed = 99;
    request.problem = static_cast<uint32_t>(requests.size());
    request.samples = 1 + length % 5;
    request.sampling.max_tokens = 10 + length % 30;
    switch (requests.size() % 4) {
      case 0:
        break;
      case 1:
        request.sampling.temperature = 0.7;
        request.sampling.top_k = 12;
        break;
      case 2:
        request.sampling.temperature = 1.4;
        request.sampling.top_p = 0.8;
        request.sampling.min_p = 0.02;
        break;
      default:
        request.sampling.temperature = 0;
        request.sampling.top_k = 3;  // ignored by greedy
    }
    requests.push_back(request);
  }
  requests[2].sampling.stop = {"ab", "q"};
  // Easy to admit and long to finish: small caches must preempt it.
  requests.back().prompt.resize(5);
  requests.back().samples = 8;
  requests.back().sampling.max_tokens = 70;
  return requests;
}

Results run(const Policy& policy, const std::vector<GenerationRequest>& requests,
            EngineConfig config = {}, SamplerStats* stats = nullptr) {
  const LetterTokenizer tokenizer;
  LocalSampler engine(policy.weights(), &tokenizer, config);
  Results results = engine.generate(requests);
  if (stats != nullptr) *stats = engine.stats();
  return results;
}

const std::vector<std::string> kKinds = {"dense", "moe", "latent"};

TEST_CASE("samples are the same for every batch size") {
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    const auto requests = mixed_requests();
    const Results reference = run(*policy, requests);
    for (int batch = 1; batch <= 31; batch += 3) {
      CAPTURE(batch);
      EngineConfig config;
      config.max_batch = batch;
      CHECK(same(run(*policy, requests, config), reference));
    }
  }
}

TEST_CASE("a group of 65 is the same in every batch from 1 to 65 rows") {
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    GenerationRequest request;
    request.prompt = {4, 8, 15, 16, 23, 42};
    request.samples = 65;
    request.sampling.max_tokens = 5;
    const Results reference = run(*policy, {request});
    for (int batch = 1; batch < 65; ++batch) {
      CAPTURE(batch);
      EngineConfig config;
      config.max_batch = batch;
      CHECK(same(run(*policy, {request}, config), reference));
    }
  }
}

TEST_CASE("samples are the same for every prefill chunk, cache size and thread count") {
  const int threads = num_threads();
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    const auto requests = mixed_requests();
    const Results reference = run(*policy, requests);
    EngineConfig config;
    for (const int chunk : {1, 2, 5, 15, 16, 17, 31, 64, 100}) {
      CAPTURE(chunk);
      config.prefill_chunk = chunk;
      CHECK(same(run(*policy, requests, config), reference));
    }
    int64_t preemptions = 0;
    for (const int pages : {6, 7, 9, 12, 14, 20, 30}) {
      CAPTURE(pages);
      config.prefill_chunk = 11 * pages;
      config.cache_pages = pages;
      SamplerStats stats;
      CHECK(same(run(*policy, requests, config, &stats), reference));
      preemptions += stats.preemptions;
    }
    CHECK(preemptions > 0);  // else the small caches tested nothing
    for (const int count : {1, 2, 4}) {
      CAPTURE(count);
      set_num_threads(count);
      CHECK(same(run(*policy, requests), reference));
    }
    set_num_threads(threads);
  }
}

TEST_CASE("samples are the same on every instruction set") {
  const std::string best = kernels::isa();
  for (const std::string& kind : kKinds) {
    const auto requests = mixed_requests();
    Results reference;
    for (const std::string& isa : kernels::supported_isas()) {
      CAPTURE(kind);
      CAPTURE(isa);
      kernels::set_isa(isa);
      // Weights may be packed for the instruction set, so the policy is made anew.
      const Results results = run(*tiny_policy(kind), requests);
      if (reference.empty()) reference = results;
      CHECK(same(results, reference));
    }
    kernels::set_isa(best);
  }
}

TEST_CASE("samples are the same on a device that the host cannot follow") {
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    TemporaryFolder folder;
    policy->save(folder.path());
    const kernels::FarOperators far(kernels::cpu_operators());
    const auto requests = mixed_requests();
    EngineConfig config;
    config.record_experts = true;
    config.cache_pages = 14;  // some are preempted, and prompts are shared
    const Results here = run(*policy, requests, config);
    const auto element = kernels::Element::kFloat32;
    CHECK(same(run(*Policy::load(folder.path(), element, far), requests, config), here));
    CHECK(far.strangers().empty());
    CHECK(far.device().arrays() == 0);
  }
}

TEST_CASE("samples do not depend on company, order or group") {
  const auto policy = tiny_policy("moe");
  const auto requests = mixed_requests();
  const Results reference = run(*policy, requests);
  std::vector<GenerationRequest> reversed(requests.rbegin(), requests.rend());
  Results back = run(*policy, reversed);
  std::reverse(back.begin(), back.end());
  CHECK(same(back, reference));
  // Alone, with a prompt of its own: shared and private prompts give the same bits.
  for (size_t i = 0; i < requests.size(); ++i) {
    for (int s = 0; s < requests[i].samples; ++s) {
      GenerationRequest single = requests[i];
      single.samples = 1;
      single.first_sample = static_cast<uint32_t>(s);
      CHECK(same(run(*policy, {single})[0][0], reference[i][s]));
    }
  }
  // A larger group begins with the smaller one.
  GenerationRequest large = requests[4];
  large.samples = 20;
  const Results more = run(*policy, {large});
  for (int s = 0; s < requests[4].samples; ++s) CHECK(same(more[0][s], reference[4][s]));
}

TEST_CASE("keys name the draws") {
  const auto policy = tiny_policy("dense");
  GenerationRequest request;
  request.prompt = {5, 6, 7};
  request.samples = 4;
  request.sampling.max_tokens = 20;
  const Results base = run(*policy, {request});
  CHECK(base[0][0].tokens != base[0][1].tokens);
  for (uint32_t GenerationRequest::*field :
       {&GenerationRequest::step, &GenerationRequest::problem, &GenerationRequest::first_sample}) {
    GenerationRequest other = request;
    other.*field = 1000;
    CHECK(run(*policy, {other})[0][0].tokens != base[0][0].tokens);
  }
  GenerationRequest shifted = request;
  shifted.first_sample = 2;
  CHECK(same(run(*policy, {shifted})[0][0], base[0][2]));
}

// Statistics of a completion from one forward call over prompt and completion together.
struct Forced {
  std::vector<float> logprobs, entropies;
  std::vector<uint8_t> experts, router_confidence, prompt_experts;
  std::vector<TokenId> redrawn;  // by the sampler itself, token t at position t of the key
};

Forced teacher_force(const Policy& policy, const GenerationRequest& request, const Sample& sample) {
  std::vector<TokenId> tokens = request.prompt;
  tokens.insert(tokens.end(), sample.tokens.begin(), sample.tokens.end() - 1);
  PackedBatch packed;
  packed.add(tokens);
  packed.finish();
  const PolicyConfig& model = policy.config();
  KvCache cache(model, packed.pages());
  std::vector<float> hidden(packed.rows() * model.width);
  const size_t expert_row = size_t(model.moe_layers()) * model.router.top_k;
  const size_t routing_row = expert_row + size_t(model.moe_layers());
  std::vector<uint8_t> routing(packed.rows() * routing_row + 1);
  const WeightsPtr weights = policy.weights();
  weights->forward(packed.view(), cache, hidden.data(),
                   {.routing = expert_row > 0 ? routing.data() : nullptr});
  const size_t first = request.prompt.size() - 1;
  const size_t m = sample.tokens.size();
  Forced forced{std::vector<float>(m), std::vector<float>(m), {}, {}, {}, std::vector<TokenId>(m)};
  const bool greedy = request.sampling.temperature == 0;
  const float temperature = greedy ? 1.0f : static_cast<float>(request.sampling.temperature);
  const std::vector<float> temperatures(m, temperature);
  std::vector<kernels::KeptSet> kept;
  for (size_t t = 0; t + 1 < sample.kept_offsets.size(); ++t) {
    const int32_t* ids = sample.kept_ids.data();
    kept.emplace_back(ids + sample.kept_offsets[t], ids + sample.kept_offsets[t + 1]);
  }
  weights->logprobs(&hidden[first * model.width], static_cast<int64_t>(m), sample.tokens.data(),
                    temperatures.data(), kept, forced.logprobs.data(), forced.entropies.data());
  for (size_t row = first; row < first + m; ++row) {
    const uint8_t* ids = routing.data() + row * routing_row;
    forced.experts.insert(forced.experts.end(), ids, ids + expert_row);
    forced.router_confidence.insert(forced.router_confidence.end(), ids + expert_row,
                                    ids + routing_row);
  }
  for (size_t row = 0; row < first; ++row) {
    const uint8_t* ids = routing.data() + row * routing_row;
    forced.prompt_experts.insert(forced.prompt_experts.end(), ids, ids + expert_row);
  }
  const kernels::SampleParams params{
      static_cast<float>(request.sampling.temperature), greedy ? 0 : request.sampling.top_k,
      static_cast<float>(request.sampling.top_p), static_cast<float>(request.sampling.min_p)};
  std::vector<float> unused(m);
  std::vector<std::vector<int32_t>> kept_again(m);
  std::vector<uint32_t> positions(m);
  std::iota(positions.begin(), positions.end(), 0u);
  weights->sample(&hidden[first * model.width], static_cast<int64_t>(m),
                  std::vector(m, params).data(), std::vector(m, sample.key).data(),
                  positions.data(), forced.redrawn.data(), unused.data(), unused.data(),
                  kept_again.data());
  return forced;
}

TEST_CASE("sampled log-probs are those of a teacher-forced forward") {
  for (const std::string& kind : kKinds) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    const auto requests = mixed_requests();
    EngineConfig config;
    config.record_experts = true;
    config.cache_pages = 12;
    config.prefill_chunk = 13;
    const Results results = run(*policy, requests, config);
    for (size_t i = 0; i < requests.size(); ++i) {
      for (const Sample& sample : results[i]) {
        const Forced forced = teacher_force(*policy, requests[i], sample);
        CHECK(same_bytes(forced.logprobs, sample.logprobs));
        CHECK(same_bytes(forced.entropies, sample.entropies));
        CHECK(forced.experts == sample.experts);
        CHECK(forced.router_confidence == sample.router_confidence);
        CHECK(forced.prompt_experts == sample.prompt_experts);
        CHECK(forced.redrawn == sample.tokens);
        const bool truncated = !sample.kept_offsets.empty();
        CHECK(truncated == (i % 4 == 1 || i % 4 == 2));
      }
    }
  }
}

TEST_CASE("the equality check has teeth") {
  // One float of one weight, one bit away: some log-prob must differ.
  const auto policy = tiny_policy("moe");
  auto other = tiny_policy("moe");
  float& weight = other->parameters().values()[12345];
  weight = std::nextafter(weight, 10.0f);
  other->publish(0);
  const auto requests = mixed_requests();
  CHECK_FALSE(same(run(*policy, requests), run(*other, requests)));
  Sample a = run(*policy, {requests[0]})[0][0];
  Sample b = a;
  b.logprobs.back() = std::nextafter(b.logprobs.back(), 0.0f);
  CHECK_FALSE(same(a, b));
}

TEST_CASE("samples carry the version that drew them, and new weights draw others") {
  auto policy = tiny_policy("dense");
  const auto requests = mixed_requests();
  const LetterTokenizer tokenizer;
  LocalSampler engine(policy->weights(), &tokenizer, {});
  const Results before = engine.generate(requests);
  CHECK(before[0][0].versions == std::vector<VersionSegment>{{0, 0}});
  for (float& value : policy->parameters().values()) value *= 1.05f;
  CHECK(same(engine.generate(requests), before));  // until they are published
  engine.publish(policy->publish(7));
  const Results after = engine.generate(requests);
  CHECK(after[0][0].versions == std::vector<VersionSegment>{{0, 7}});
  CHECK_FALSE(same_bytes(after[7][0].logprobs, before[7][0].logprobs));
  // The cache of earlier weights has left nothing behind.
  CHECK(same(run(*policy, requests), after));
}

}  // namespace
}  // namespace zeroth

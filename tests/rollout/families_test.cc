// The one-forward promise for every family: what the engine records while it samples is what a
// teacher-forced forward computes, whatever the batch, the chunks of the prompt and the cache.
#include <doctest/doctest.h>

#include "policy/policy.h"
#include "policy/scoring.h"
#include "rollout/local_sampler.h"
#include "tests/model/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::vector<GenerationRequest> requests(const PolicyConfig& config) {
  std::vector<GenerationRequest> out(3);
  for (size_t r = 0; r < out.size(); ++r) {
    for (size_t t = 0; t < 5 + 14 * r; ++t) {
      out[r].prompt.push_back(static_cast<TokenId>((t * 7 + 11 * r) % config.vocab_size));
    }
    out[r].problem = static_cast<int64_t>(r);
    out[r].samples = 4;
    out[r].sampling.max_tokens = 20;
  }
  return out;
}

std::vector<std::vector<Sample>> generate(const Policy& policy, int max_batch, int prefill_chunk,
                                          int64_t pages) {
  EngineConfig config;
  config.max_batch = max_batch;
  config.prefill_chunk = prefill_chunk;
  config.cache_pages = pages;
  LocalSampler engine(policy.weights(), nullptr, config);
  return engine.generate(requests(policy.config()));
}

}  // namespace

TEST_CASE("every family: log-probs of sampling are those of one forward, bit for bit") {
  for (const kernels::Element element : {kernels::Element::kFloat32, kernels::Element::kBfloat16}) {
    CAPTURE(static_cast<int>(element));
    for (const std::string& family : families()) {
      CAPTURE(family);
      const std::unique_ptr<Policy> policy = Policy::load(fixture(family), element);
      const auto prompts = requests(policy->config());
      const auto wide = generate(*policy, 256, 512, 0);
      const auto narrow = generate(*policy, 3, 5, 40);
      for (size_t r = 0; r < prompts.size(); ++r) {
        REQUIRE(wide[r].size() == 4);
        for (size_t i = 0; i < 4; ++i) {
          const Sample& sample = wide[r][i];
          CHECK(sample.tokens == narrow[r][i].tokens);
          CHECK(sample.logprobs == narrow[r][i].logprobs);
          std::vector<TokenId> whole = prompts[r].prompt;
          whole.insert(whole.end(), sample.tokens.begin(), sample.tokens.end());
          const auto scored =
              score_sequences(*policy->weights(), std::vector<std::vector<TokenId>>{whole})[0];
          const std::vector<float> tail(scored.end() - static_cast<long>(sample.tokens.size()),
                                        scored.end());
          CHECK(tail == sample.logprobs);
        }
      }
    }
  }
}

// Sampling on a GPU: tokens, log-probs, kept sets, experts and texts are the CPU's, with prompts
// that are shared and requests that are preempted.
#include <random>

#include "core/temporary_folder.h"
#include "rollout/local_sampler.h"
#include "tests/cuda/gpu.h"
#include "tests/rollout/check_same.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

// Greedy and not, truncated in every way; prompts around the length of a page.
std::vector<GenerationRequest> requests() {
#if defined(ZEROTH_ON_DEVICE)
  const int longer = 5;
#else
  const int longer = 1;
#endif
  std::mt19937 random(21);
  std::vector<GenerationRequest> out;
  for (const int length : {1, 15, 16, 17, 33}) {
    GenerationRequest request;
    request.prompt.resize(length);
    for (TokenId& token : request.prompt) token = static_cast<TokenId>(2 + random() % 90);
    request.seed = 99;
    request.problem = static_cast<uint32_t>(out.size());
    request.samples = 1 + length % 3;
    request.sampling.max_tokens = longer * (3 + length % 4);
    switch (out.size() % 5) {
      case 1:
        request.sampling.temperature = 0.7;
        request.sampling.top_k = 12;
        break;
      case 2:
        request.sampling.temperature = 1.4;
        request.sampling.top_p = 0.8;
        request.sampling.min_p = 0.02;
        break;
      case 3:
        request.sampling.temperature = 0;
        break;
      default:
        break;
    }
    out.push_back(request);
  }
  return out;
}

Results samples_of(const Policy& policy) {
  const LetterTokenizer tokenizer;
  EngineConfig config;
  config.record_experts = true;
  config.cache_pages = 8;
  LocalSampler engine(policy.weights(), &tokenizer, config);
  return engine.generate(requests());
}

TEST_CASE("samples of a GPU are the CPU's") {
  for (const std::string kind : {"dense", "moe", "latent"}) {
    CAPTURE(kind);
    const auto policy = tiny_policy(kind);
    TemporaryFolder folder;
    policy->save(folder.path());
    const Gpu gpu(0);
    {
      const auto there = Policy::load(folder.path(), kernels::Element::kFloat32, gpu);
      check_same(samples_of(*there), samples_of(*policy));
    }
    check_left_empty(gpu);
  }
}

}  // namespace
}  // namespace zeroth

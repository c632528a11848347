// What follows from a request's rules alone, for all who draw tokens or check draws.
#pragma once

#include <algorithm>
#include <string>

#include "kernels/head.h"
#include "model/config.h"
#include "rollout/sampler.h"

namespace zeroth {

// Throws Error (usage) that names `who`, the field, the value and the limit, for a request that no
// sampler takes (Sampler::generate).
void check_request(const GenerationRequest& request, const PolicyConfig& model, bool has_tokenizer,
                   const std::string& who);

kernels::SampleParams to_params(const SamplingConfig& sampling);

// Most tokens of a sample: max_tokens, or what the context leaves behind the prompt.
inline int longest_sample(const GenerationRequest& request, const PolicyConfig& model) {
  return std::min(request.sampling.max_tokens,
                  model.max_position - static_cast<int>(request.prompt.size()));
}

}  // namespace zeroth

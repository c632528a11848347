// Generation in this process: prompts in, groups of samples out.
#pragma once

#include <memory>
#include <vector>

#include "policy/weights.h"
#include "rollout/engine_config.h"
#include "rollout/sampler.h"
#include "text/tokenizer.h"

namespace zeroth {

// Continuous batching over a paged cache. A trace does not depend on max_batch, cache size,
// chunking, preemption or drafts either. Several samplers may share weights.
class LocalSampler : public Sampler {
 public:
  // The tokenizer must outlive the sampler; it may be null: then samples have no text, stop strings
  // are an Error, and no token ends a sample before max_tokens. In `store` (may be null; outlives
  // the sampler) activations are kept when tickets are asked for, while it has room, behind what it
  // holds of the same weights.
  LocalSampler(WeightsPtr weights, const Tokenizer* tokenizer, const EngineConfig& config,
               ActivationStore* store = nullptr);
  ~LocalSampler() override;

  void publish(WeightsPtr weights) override;
  // Beside what every sampler does: Sample::experts[t] and router_confidence[t] are those of the
  // row that token t was drawn from (config.record_experts), and prompt_experts those of its prompt;
  // done is called in an order that depends on the arguments only, with drafts (config.draft_tokens)
  // also on the calls before; cancel is looked at before every forward call; a prompt and max_tokens
  // that exceed the whole cache are an Error before any work.
  std::vector<std::vector<Sample>> generate(const std::vector<GenerationRequest>& requests,
                                            const GenerateOptions& options = {}) override;
  const SamplerStats& stats() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth

// A sampler that says what it is told: for tests of what stands on a Sampler.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "rollout/sampler.h"

namespace zeroth {

class ScriptedSampler : public Sampler {
 public:
  // Gives a sample's tokens, and of the rest what the test cares for (log-probs, text, finish, ..);
  // called in order, request by request. `weights` are those in use, null before any publish().
  using Script =
      std::function<Sample(const GenerationRequest&, int sample, const WeightsPtr& weights)>;
  explicit ScriptedSampler(Script script);

  void publish(WeightsPtr weights) override;
  // Sets key and versions of every sample; cuts it at max_tokens (kLength); log-probs and entropies
  // that the script left out are 0. Needs no weights unless some were let go of.
  std::vector<std::vector<Sample>> generate(const std::vector<GenerationRequest>& requests,
                                            const GenerateOptions& options = {}) override;
  const SamplerStats& stats() const override { return stats_; }
  // Versions in the order in which they were published; not beside publish().
  const std::vector<WeightsVersion>& published() const { return published_; }

 private:
  WeightsPtr current();  // Error when they were let go of
  Sample play(const GenerationRequest& request, int index, const WeightsPtr& weights);

  Script script_;
  std::mutex mutex_;  // guards what publish() sets
  WeightsPtr weights_;
  bool ready_ = true;
  std::vector<WeightsVersion> published_;
  SamplerStats stats_;
};

}  // namespace zeroth

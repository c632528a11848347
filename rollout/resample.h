// Draws samples again from what is known of them: which weights drew which tokens.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "rollout/sampler.h"

namespace zeroth {

// A sample without its contents.
struct SamplePlan {
  int32_t tokens = 0;                    // drawn in all
  std::vector<VersionSegment> versions;  // of Sample::versions
  bool operator==(const SamplePlan&) const = default;
};

inline SamplePlan plan_of(const Sample& sample) {
  return {static_cast<int32_t>(sample.tokens.size()), sample.versions};
}

// The samples of requests, [request][sample], whose plans are plans[request][sample]: every segment
// by its weights behind what the segments before it have drawn, so that each token is what it was,
// however the sampling was batched and when the weights were switched. Blocks. `sampler` must take
// GenerationRequest::begun, and is left with the last weights that were asked for; `weights` gives
// those of a version, never null. A sample that ends elsewhere than its plan says comes back as it
// came out. When `cancel` becomes true, samples stay as far as they are. Errors as of
// Sampler::generate, and those of `weights`.
std::vector<std::vector<Sample>> resample(Sampler& sampler,
                                          const std::vector<GenerationRequest>& requests,
                                          const std::vector<std::vector<SamplePlan>>& plans,
                                          const std::function<WeightsPtr(WeightsVersion)>& weights,
                                          const std::atomic<bool>* cancel = nullptr);

}  // namespace zeroth

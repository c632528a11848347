// In which order the requests of a batch are begun, so that it ends without a long tail.
#pragma once

#include <cstddef>
#include <vector>

#include "rollout/sampler.h"

namespace zeroth {

// Indices of the requests, those with the longest expected samples first (longest processing time
// first: R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969). What is not known counts
// as the mean of what is, but no more than its max_tokens. Equal ones keep their order, and so do
// all when nothing is known.
std::vector<size_t> longest_first(const std::vector<GenerationRequest>& requests);

}  // namespace zeroth

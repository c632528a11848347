// The draws of one step of a LocalSampler.
#pragma once

#include <cstdint>
#include <vector>

#include "core/rng.h"
#include "core/trajectory.h"
#include "kernels/device_array.h"
#include "kernels/head.h"

namespace zeroth {

// The arguments and results of one Weights::sample call; m = keys.size().
struct DrawBatch {
  kernels::Array<float> hidden;  // [m, width]
  std::vector<kernels::SampleParams> params;
  std::vector<StreamKey> keys;
  std::vector<uint32_t> positions;  // of the token inside its sample
  std::vector<TokenId> tokens;
  // Whether the draw stands: no draft before it, or drafts that came true. The others are as if they
  // had not been made.
  std::vector<char> stands;
  std::vector<float> logprobs, entropies;
  std::vector<std::vector<int32_t>> kept;
  bool truncated = false;  // some row has a kept set
};

}  // namespace zeroth

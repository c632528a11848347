// A checkpoint against what another implementation computed from it.
#pragma once

#include <filesystem>

namespace zeroth {

// Two float32 implementations that add in different orders differ by less than this on models of a
// few layers.
inline constexpr double kParityLogprobBound = 2e-4;
inline constexpr double kParityLogitBound = 2e-4;
inline constexpr double kParityGradBound = 1e-4;  // relative
// All of these with gated delta nets, whose output is normed however small it is: transformers in
// float32 is as far from itself in float64.
inline constexpr double kDeltaNetParityBound = 5e-4;

struct ParityGap {
  double logprob = 0, logit = 0, grad_norm = 0;  // largest differences; NaN once one was met
  bool greedy_equal = true;
  bool delta_net = false;  // whether the model has gated delta nets
  bool within_bounds() const {
    const auto bound = [&](double plain) { return delta_net ? kDeltaNetParityBound : plain; };
    // Written so that a NaN fails.
    return logprob <= bound(kParityLogprobBound) && logit <= bound(kParityLogitBound) &&
           grad_norm <= bound(kParityGradBound) && greedy_equal;
  }
};

// Loads the Hugging Face checkpoint in `dir` and compares it with expected.json beside it:
// {"sequences": [{"ids", "logprobs", "last_logits", "greedy"}], "total_grad_norm"}; the last three
// are optional. The gradient is that of the sum of -log p over all sequences. Throws Error naming
// the file when it is malformed.
ParityGap measure_parity(const std::filesystem::path& dir);

}  // namespace zeroth

// Teacher-forced log-probabilities of whole sequences, and the gradient of their sum.
#pragma once

#include <span>
#include <vector>

#include "policy/policy.h"

namespace zeroth {

// For every sequence the natural log-prob of each token given those before it, one fewer than
// tokens; at temperature 1. Sequences are packed up to about batch_tokens rows a pass, which
// changes no bit of a log-prob. Empty sequences and unknown token ids are Errors.
std::vector<std::vector<float>> score_sequences(const Weights& weights,
                                                std::span<const std::vector<TokenId>> sequences,
                                                int64_t batch_tokens = 4096);
// The same by what the policy has published; adds to `grads` (laid out like parameters()) the
// gradient of sum(-log p) over all sequences. `mode` changes no bit of it.
std::vector<std::vector<float>> score_sequences(const Policy& policy,
                                                std::span<const std::vector<TokenId>> sequences,
                                                std::span<float> grads, int64_t batch_tokens = 4096,
                                                Activations::Mode mode = Activations::Mode::kFull);

// The token of the largest logit after each of `steps` greedy steps from `prompt`, decoded one
// token at a time.
std::vector<TokenId> greedy_continuation(const Weights& weights, std::span<const TokenId> prompt,
                                         int steps);

}  // namespace zeroth

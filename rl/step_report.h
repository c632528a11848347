// What the updates of a step did and saw.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "policy/forward.h"
#include "rl/loss.h"

namespace zeroth {

// What the last update of a sample saw.
struct TrainedSample {
  // [tokens] under the weights before that update; empty: the sample was not trained on.
  std::vector<float> logprobs;
  std::vector<float> reference_logprobs;  // [tokens]; empty without a reference policy
  double loss = 0;                        // its share of the mini-batch's loss, KL included
};

// What one step did. Means are over what was computed; see docs of the fields in rl/loss.h.
struct StepReport {
  LossStats stats;                          // added up over all updates of the step
  double entropy_sum = 0;                   // of the trained distribution, over stats.tokens
  double learning_rate = 0, grad_norm = 0;  // of the last update, the norm before clipping
  double entropy_coef = 0;                  // of the bonus in this step
  int updates = 0;                          // optimizer updates made
  // |log-prob in training - log-prob at sampling| over the first mini-batch, before anything was
  // updated. The same kernels compute both, so on-policy both numbers are exactly 0. Of a call
  // whose rows were recalled one sample is computed again from its tokens (not in every call when
  // that is more than one row in 16), and 64 log-probs from their last hidden states, no others.
  double logp_difference_mean = 0, logp_difference_max = 0;
  double effective_sample_size = 0;  // of the first mini-batch, by its share (docs/async.md)
  double max_vio = 0;  // max over layers of max load / mean load - 1; 0 for a dense policy
  std::vector<std::vector<int64_t>> expert_load;    // [moe layer][expert] choices in training
  RoutingChange routing;                            // against what sampling recorded, if it did
  std::vector<std::vector<TrainedSample>> trained;  // [group][sample] of those given to update()
  int64_t forward_rows = 0;                         // rows that were differentiated
  int64_t recalled_rows = 0;  // of them, those whose activations sampling had kept
  double recalled_share() const {
    return forward_rows > 0 ? double(recalled_rows) / double(forward_rows) : 0;
  }
  std::optional<double> reverse_kl;  // mean of log policy - log teacher over tokens, with a teacher
  double seconds = 0;
};

}  // namespace zeroth

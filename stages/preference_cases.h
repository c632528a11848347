// Losses of pairs held against TRL's DPOTrainer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

struct PreferenceCaseResult {
  int64_t id = 0;
  std::string name;          // "sigmoid+sft forward_kl"
  std::string not_computed;  // a loss of TRL that this trainer does not have; empty: compared
  double loss_difference = 0, gradient_difference = 0, reward_difference = 0;  // may be NaN
};

// The cases of a file (one JSON object a line: loss_type, loss_weights, beta, label_smoothing,
// f_divergence_type, f_alpha_divergence_coef, ld_alpha, use_weighting, chosen_logprobs,
// rejected_logprobs, ref_.., loss, grad_.., rewards_..). Differences are relative to the larger of 1
// and the expected value for loss and rewards, and to the largest expected gradient. Throws Error
// naming the line when it is malformed.
std::vector<PreferenceCaseResult> evaluate_preference_cases(const std::filesystem::path& file);

}  // namespace zeroth

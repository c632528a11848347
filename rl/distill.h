// On-policy distillation: the policy's own samples, and what a teacher says of every token of them.
//
// The reverse KL of a sequence is E[sum_t log pi(y_t) - log T(y_t)], y drawn by the policy pi. Taking
// each token's term as its own reward, with nothing of later ones (discount 0), the gradient for
// token t is that of the policy loss with the advantage
//   A_t = reward_weight A + weight (log T(y_t) - log pi_old(y_t)),
// whose mean over y_t is minus the gradient of weight KL(pi || T) at that token. A is what rewards
// give (advantage.*). Sources: generalised knowledge distillation, arXiv 2306.13649; MiniLLM, arXiv
// 2306.08543; "On-Policy Distillation", Thinking Machines Lab, 2025.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/trajectory.h"

namespace zeroth {

struct DistillConfig {
  std::string teacher;
  double weight = 1;
  double reward_weight = 0;
  template <class V>
  void fields(V& v) {
    v("teacher", teacher,
      "checkpoint whose distribution the policy learns on its own samples (reverse KL), with the "
      "policy's tokenizer; empty: none");
    v("weight", weight, "of log teacher - log policy in a token's advantage", Range{0, 1e6});
    v("reward_weight", reward_weight, "of the advantage by rewards beside it; 0: the teacher alone",
      Range{0, 1e6});
  }
};

// [tokens] the advantages of a sample. `own`: by rewards, one a token or empty: Sample::advantage.
// `teacher`: log-probs of the sample's tokens under the teacher, at the sampling temperature. An
// environment's tokens have 0. Pure.
std::vector<double> distilled_advantages(const DistillConfig& config, const Sample& sample,
                                         std::span<const double> own,
                                         std::span<const float> teacher);

}  // namespace zeroth

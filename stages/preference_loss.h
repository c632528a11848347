// Losses of pairs: a chosen and a rejected completion of one prompt, against a reference policy.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

struct PreferenceLossConfig {
  std::string type = "sigmoid";
  double beta = 0.1;
  double ld_alpha = 1;
  std::string f_divergence = "reverse_kl";
  double alpha = 0.5;
  double label_smoothing = 0;
  double weight = 1;
  double sft_weight = 0;

  template <class V>
  void fields(V& v) {
    v("type", type,
      "sigmoid = DPO (arXiv 2305.18290, eq. 7); sigmoid_norm = of mean log-ratios a token; ipo = "
      "(arXiv 2310.12036, eq. 17), of means too; hinge = SLiC's; robust = with label_smoothing "
      "(arXiv 2403.00409)",
      Choice{{"sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"}});
    v("beta", beta, "how closely the reference is kept to", Range{1e-6, 1e6});
    v("ld_alpha", ld_alpha,
      "weight of log-probs of tokens beyond the shorter completion's length (LD-DPO, arXiv "
      "2409.06411); 1 = as the others",
      Range{0, 1});
    v("f_divergence", f_divergence, "what keeps to the reference (f-DPO, arXiv 2309.16240)",
      Choice{{"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"}});
    v("alpha", alpha, "of alpha_divergence", Range{0, 10});
    v("label_smoothing", label_smoothing, "share of pairs that robust takes to be swapped",
      Range{0, 0.499});
    v("weight", weight, "of this loss", Range{0, 1e6});
    v("sft_weight", sft_weight,
      "of the mean of -log p over the chosen tokens, added (RPO, arXiv 2404.19733)", Range{0, 1e6});
  }
};

// Log-probs of the tokens of both completions, by the policy and by the reference.
struct PreferencePair {
  std::span<const float> chosen, rejected;          // at least one token each
  std::span<const float> ref_chosen, ref_rejected;  // as many
};

struct PreferenceResult {
  double loss = 0;                                 // this pair's part of the batch's loss
  double reward_chosen = 0, reward_rejected = 0;   // beta (log pi - log ref)
  std::vector<double> grad_chosen, grad_rejected;  // d loss / d log-prob
};

// h = beta (s(c) - s(r)), c and r the log-ratios log pi - log ref summed over tokens, those beyond
// the shorter length times ld_alpha; s = f'(exp(.)) of the divergence, the identity for reverse_kl.
// sigmoid: -log sigmoid(h). sigmoid_norm: s by the number of tokens first. ipo: (s(c)/|c| - s(r)/|r|
// - 1/(2 beta))^2. hinge: max(0, 1 - h). robust: (-(1 - e) log sigmoid(h) + e log sigmoid(-h)) /
// (1 - 2e). As TRL computes them (trl/trainer/dpo_trainer.py of 1.16). The batch's loss is the mean
// over its `pairs`, plus sft_weight times the mean of -log p over its `chosen_tokens`. Pure.
PreferenceResult preference_loss(const PreferenceLossConfig& config, const PreferencePair& pair,
                                 int64_t pairs, int64_t chosen_tokens);

}  // namespace zeroth

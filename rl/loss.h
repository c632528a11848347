// Policy-gradient losses on per-token log-probabilities: pure functions that return the loss and
// its gradient.
//
// Notation for token t of sample i: lp = log pi(token), old = the log-prob it was sampled with, ref
// = log-prob under the reference policy, A = advantage, r = exp(lp - old) (importance_sampling =
// token) or, for every token of a sample, exp(mean_t(lp - old)) (sequence; GSPO, arXiv 2507.18071,
// eq. 7). Policy term per token:
//   clipped  -min(min(r, delta) A, clip(r, 1 - clip_low, 1 + clip_high) A)   PPO (arXiv 1707.06347,
//   eq. 7) with DAPO's two
//            bounds and INTELLECT-2's cap delta; types grpo, bnpo, dr_grpo, dapo, luspo
//   cispo    -sg(min(r, clip_high)) A lp     MiniMax-M1 (arXiv 2506.13585); clip_high is the
//   cap itself sapo     -(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A          (arXiv
//   2511.20347, eq. 5)
// KL term per token: beta k3, k3 = exp(ref - lp) - (ref - lp) - 1 (Schulman's estimator;
// DeepSeekMath, arXiv 2402.03300, eq. 4); with kl_importance_weighted beta r k3, gradient through r
// too (DeepSeek-V3.2, arXiv 2512.02556). off_policy_mask_threshold drops the policy term of a
// sample with A < 0 and mean_t(old - lp) above it (V3.2). Aggregation over the loss tokens
// of a mini-batch (T tokens, B samples, n_i tokens in sample i):
//   grpo, sapo: 1/B sum_i 1/n_i sum_t     bnpo: 1/T sum     dapo, cispo: 1/T' sum, T' = the step's
//   tokens per mini-batch dr_grpo: 1/(B max_tokens) sum         luspo: 1/B sum    (arXiv
//   2602.05261)
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/config.h"

namespace zeroth {

struct LossConfig {
  std::string type = "dapo";
  std::string importance_sampling = "token";
  double clip_low = 0.2;
  double clip_high = 0.28;
  double delta = 0;
  double beta = 0;
  bool kl_importance_weighted = false;
  double off_policy_mask_threshold = 0;
  double sapo_tau_pos = 1.0;
  double sapo_tau_neg = 1.05;
  double entropy_coef = 0;
  double top_entropy_quantile = 1;

  template <class V>
  void fields(V& v) {
    v("type", type, "loss and its aggregation",
      Choice{{"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo"}});
    v("importance_sampling", importance_sampling, "ratio per token, or one per sample (GSPO)",
      Choice{{"token", "sequence"}});
    v("clip_low", clip_low, "the ratio is kept above 1 - clip_low", Range{0, 1e6});
    v("clip_high", clip_high, "the ratio is kept below 1 + clip_high (cispo: below clip_high)",
      Range{0, 1e6});
    v("delta", delta, "cap of the unclipped ratio, above 1 + clip_high; 0 = none", Range{0, 1e6});
    v("beta", beta, "weight of the KL to the reference policy; 0 = no reference is loaded",
      Range{0, 1e3});
    v("kl_importance_weighted", kl_importance_weighted,
      "weigh the KL by the ratio (unbiased gradient)");
    v("off_policy_mask_threshold", off_policy_mask_threshold,
      "drop samples of negative advantage whose mean log(old/new) exceeds this; 0 = never",
      Range{0, 1e3});
    v("sapo_tau_pos", sapo_tau_pos, "temperature of sapo for positive advantages",
      Range{1e-6, 1e6});
    v("sapo_tau_neg", sapo_tau_neg, "temperature of sapo for the others", Range{1e-6, 1e6});
    v("entropy_coef", entropy_coef, "weight of the mean token entropy that is added as a bonus",
      Range{0, 1e3});
    v("top_entropy_quantile", top_entropy_quantile,
      "share of tokens, highest entropy first, that get the policy gradient; 1 = all",
      Range{1e-6, 1});
  }
};

// What aggregation needs to know about the whole mini-batch; every count is of loss tokens
// (unmasked samples).
struct LossScope {
  double tokens = 0;  // T
  double step_tokens =
      0;  // T': tokens of the whole step / number of mini-batches (equals T when there is one)
  double samples = 0;     // B
  double max_tokens = 0;  // longest completion allowed (dr_grpo)
  double entropy_tokens =
      0;  // tokens that the entropy bonus acts on; T without top_entropy_quantile
};

// One sample. All spans have one entry per token; ref may be empty when beta is 0; `keep` may be
// empty (all tokens): tokens with keep == 0 get no policy gradient (top_entropy_quantile) but still
// KL.
struct SampleTerms {
  std::span<const float> logprob;
  std::span<const float> old_logprob;
  std::span<const float> ref_logprob;
  std::span<const uint8_t> keep;
  double advantage = 0;
};

// Sums over what was added so far; means are taken over `tokens` (or `samples` at sequence level).
struct LossStats {
  double loss = 0;  // with the KL, without the entropy bonus
  double policy_loss = 0;
  double kl = 0;  // sum over tokens of k3 (weighted when configured)
  double ratio = 0, ratio_min = 1e300, ratio_max = -1e300;
  double clipped_low = 0,
         clipped_high = 0;  // counts of ratios, tokens or samples by importance_sampling
  double clipped_low_min = 1e300, clipped_high_max = -1e300;  // share within a sample
  double ratios = 0;                                          // number of ratios
  double tokens = 0, samples = 0, off_policy_dropped = 0;
};

// Adds the sample's share of the loss to `stats` and writes d loss / d logprob into `gradient`
// [tokens]. Deterministic; double precision inside. Thread safe for distinct outputs.
void sample_loss(const LossConfig& config, const LossScope& scope, const SampleTerms& sample,
                 std::span<double> gradient, LossStats& stats);

// d (-entropy_coef * mean entropy) / d entropy of one token.
inline double entropy_gradient(const LossConfig& config, const LossScope& scope) {
  return scope.entropy_tokens > 0 ? -config.entropy_coef / scope.entropy_tokens : 0;
}

}  // namespace zeroth

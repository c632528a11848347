// The fields that choose a policy-gradient loss. Equations with their sources: docs/algorithms.md.
#pragma once

#include <string>

#include "core/config.h"
#include "rl/loss_types.h"

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
  double vespo_k_pos = 2.0;
  double vespo_k_neg = 3.0;
  double vespo_lambda_pos = 3.0;
  double vespo_lambda_neg = 2.0;
  bool decoupled = false;
  std::string correction = "none";
  double correction_min = 0;
  double correction_max = 2;
  double omd_tau = 0.1;
  std::string covariance = "none";
  double covariance_share = 2e-4;
  double covariance_low = 1;
  double covariance_high = 5;
  double covariance_kl_coef = 1;
  double entropy_coef = 0;
  double entropy_target = 0;
  double entropy_step = 0.005;
  double top_entropy_quantile = 1;

  template <class V>
  void fields(V& v) {
    v("type", type, "objective and aggregation", Choice{loss_type_names()});
    v("importance_sampling", importance_sampling,
      "ratio per token, per sample of the mean (GSPO) or of the sum of its log-ratios (RLOO)",
      Choice{{"token", "sequence", "sequence_sum"}});
    v("clip_low", clip_low, "the ratio is kept above 1 - clip_low (gmpo: the log-ratio above -it)",
      Range{0, 1e6});
    v("clip_high", clip_high,
      "the ratio is kept below 1 + clip_high (cispo: below clip_high; gmpo: the log-ratio)",
      Range{0, 1e6});
    v("delta", delta, "cap of the unclipped ratio, above 1 + clip_high; 0 = none", Range{0, 1e6});
    v("beta", beta, "weight of the KL to the reference policy; 0 = no reference is loaded",
      Range{0, 1e3});
    v("kl_importance_weighted", kl_importance_weighted,
      "weigh the KL by the ratio (unbiased gradient)");
    v("off_policy_mask_threshold", off_policy_mask_threshold,
      "drop samples of negative advantage whose mean log(sampler/new) exceeds this; 0 = never",
      Range{0, 1e3});
    v("sapo_tau_pos", sapo_tau_pos, "temperature of sapo for positive advantages",
      Range{1e-6, 1e6});
    v("sapo_tau_neg", sapo_tau_neg, "temperature of sapo for the others", Range{1e-6, 1e6});
    v("vespo_k_pos", vespo_k_pos, "exponent k of vespo for advantages >= 0", Range{0, 1e3});
    v("vespo_k_neg", vespo_k_neg, "exponent k of vespo for the others", Range{0, 1e3});
    v("vespo_lambda_pos", vespo_lambda_pos, "decay lambda of vespo for advantages >= 0",
      Range{1e-4, 1e3});
    v("vespo_lambda_neg", vespo_lambda_neg, "decay lambda of vespo for the others",
      Range{1e-4, 1e3});
    v("decoupled", decoupled,
      "ratios against the policy at the step's start (proximal), not against the one that sampled; "
      "with one update a step nothing is clipped then (docs/async.md)");
    v("correction", correction,
      "what a decoupled loss does with the ratio proximal/sampler outside its bounds",
      Choice{{"none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"}});
    v("correction_min", correction_min, "lower bound of that ratio; 0 = none", Range{0, 1});
    v("correction_max", correction_max, "upper bound of that ratio; 0 = none", Range{0, 1e6});
    v("omd_tau", omd_tau, "weight tau of the squared log-ratio of omd", Range{0, 1e6});
    v("covariance", covariance,
      "tokens whose log-prob varies most with the advantage: no policy gradient for some of them "
      "(clip), or a KL to the old policy for the first ones (kl)",
      Choice{{"none", "clip", "kl"}});
    v("covariance_share", covariance_share, "share of the loss tokens of an update that this takes",
      Range{0, 1});
    v("covariance_low", covariance_low, "clip: tokens of a covariance above this are drawn from",
      Range{-1e9, 1e9});
    v("covariance_high", covariance_high, "clip: and below this", Range{-1e9, 1e9});
    v("covariance_kl_coef", covariance_kl_coef, "kl: weight of |log(new/old)| of these tokens",
      Range{0, 1e6});
    v("entropy_coef", entropy_coef, "weight of the mean token entropy that is added as a bonus",
      Range{0, 1e3});
    v("entropy_target", entropy_target,
      "nats a token: entropy_coef, where it begins, rises by entropy_step after steps whose "
      "samples "
      "have less and falls after the others, in which there is no bonus; 0 = it stays as it is",
      Range{0, 100});
    v("entropy_step", entropy_step, "that change of the coefficient", Range{0, 1e3});
    v("top_entropy_quantile", top_entropy_quantile,
      "share of tokens, highest entropy first, that get the policy gradient; 1 = all", Range{0, 1});
  }

  // The parts that `type` stands for; an Error names an unknown one.
  const LossRule& rule() const;
  Level level() const;
  Correction correction_kind() const;
  Covariance covariance_kind() const;
  bool wants_entropy() const { return entropy_coef > 0 || entropy_target > 0; }
  // Fields that contradict each other are usage Errors.
  void check() const;
};

}  // namespace zeroth

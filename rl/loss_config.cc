#include "rl/loss_config.h"

#include <array>
#include <utility>

#include "core/error.h"
#include "rl/choices.h"

namespace zeroth {
namespace {

std::string number(double value) { return Json(value).dump(); }

}  // namespace

const LossRule& LossConfig::rule() const {
  for (const LossType& known : kLossTypes) {
    if (type == known.name) return known.rule;
  }
  fail_usage("loss.type = \"" + type + "\" is not known", "zeroth train --help lists the choices");
}

Level LossConfig::level() const {
  static constexpr std::pair<const char*, Level> kLevels[] = {
      {"token", Level::kToken},
      {"sequence", Level::kSequenceMean},
      {"sequence_sum", Level::kSequenceSum}};
  return choice_of(importance_sampling, kLevels, "loss.importance_sampling");
}

Correction LossConfig::correction_kind() const {
  static constexpr std::pair<const char*, Correction> kCorrections[] = {
      {"none", Correction::kNone},
      {"token_truncate", Correction::kTokenTruncate},
      {"token_mask", Correction::kTokenMask},
      {"sequence_truncate", Correction::kSequenceTruncate},
      {"sequence_mask", Correction::kSequenceMask}};
  return choice_of(correction, kCorrections, "loss.correction");
}

Covariance LossConfig::covariance_kind() const {
  static constexpr std::pair<const char*, Covariance> kCovariances[] = {
      {"none", Covariance::kNone}, {"clip", Covariance::kClip}, {"kl", Covariance::kKl}};
  return choice_of(covariance, kCovariances, "loss.covariance");
}

void LossConfig::check() const {
  const Objective objective = rule().objective;
  if (delta > 0 && delta < 1 + clip_high) {
    fail_usage(
        "loss.delta = " + number(delta) + " is below 1 + loss.clip_high = " + number(1 + clip_high),
        "choose a larger delta, or 0 for none");
  }
  if (objective == Objective::kCispo && clip_high < 1) {
    fail_usage("loss.clip_high = " + number(clip_high) +
                   " is below 1, and cispo takes it as the cap of the ratio itself",
               "set loss.clip_high to 2 or more with cispo");
  }
  const bool own_ratio = !rule().by_token();
  if (own_ratio && level() != Level::kToken) {
    fail_usage("loss.importance_sampling = \"" + importance_sampling + "\", but " + type +
                   " has a ratio of the sequence of its own",
               "leave it at \"token\"");
  }
  if (own_ratio && kl_importance_weighted) {
    fail_usage("loss.kl_importance_weighted is set, but " + type + " has no ratio per token",
               "unset it, or choose another loss.type");
  }
  if (objective == Objective::kLikelihood && (level() != Level::kToken || kl_importance_weighted)) {
    fail_usage(std::string(level() != Level::kToken
                               ? "loss.importance_sampling = \"" + importance_sampling + "\""
                               : "loss.kl_importance_weighted is set") +
                   ", but " + type + " has no ratio",
               "leave it out, or choose another loss.type");
  }
  const Correction kind = correction_kind();
  if (kind != Correction::kNone && !decoupled) {
    fail_usage("loss.correction = \"" + correction +
                   "\" without loss.decoupled: the ratio proximal/sampler is 1 then",
               "set loss.decoupled, or loss.correction to \"none\"");
  }
  if (objective == Objective::kVespo &&
      (kind == Correction::kSequenceTruncate || kind == Correction::kSequenceMask)) {
    fail_usage("loss.correction = \"" + correction + "\" with vespo, which corrects tokens only",
               "choose token_truncate, token_mask or none");
  }
  if (own_ratio && covariance_kind() != Covariance::kNone) {
    fail_usage("loss.covariance = \"" + covariance +
                   "\", but the tokens of a sample share one term of " + type,
               "set it to \"none\", or choose another loss.type");
  }
  if (covariance_low >= covariance_high) {
    fail_usage("loss.covariance_low = " + number(covariance_low) +
                   " is not below loss.covariance_high = " + number(covariance_high),
               "give the lower bound first");
  }
  if (objective == Objective::kMirrorDescent && kind != Correction::kNone) {
    fail_usage("loss.correction = \"" + correction + "\" with omd, which is off-policy by itself",
               "set it to \"none\"");
  }
  if (objective == Objective::kMirrorDescent && top_entropy_quantile < 1) {
    fail_usage(
        "loss.top_entropy_quantile is below 1, but the tokens of a sample share one term of omd",
        "leave it at 1");
  }
  if (objective == Objective::kGeometric &&
      (kind == Correction::kTokenTruncate || kind == Correction::kTokenMask)) {
    fail_usage("loss.correction = \"" + correction + "\" with gmpo, whose tokens share one ratio",
               "choose sequence_truncate, sequence_mask or none");
  }
  if (correction_max > 0 && correction_max < 1) {
    fail_usage("loss.correction_max = " + number(correction_max) +
                   " is below 1: a ratio of 1 would be corrected",
               "choose 1 or more, or 0 for none");
  }
}

}  // namespace zeroth

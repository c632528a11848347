// What the losses are made of. A new loss is a row of kLossTypes; a new objective a case of the
// switch in rl/loss.cc too. Equations with their sources: docs/algorithms.md.
#pragma once

#include <string>
#include <vector>

namespace zeroth {

// The policy term of one token.
enum class Objective {
  kClipped,        // PPO's clipped ratio with two bounds and an optional cap
  kCispo,          // a capped ratio without gradient, times the log-prob
  kSapo,           // a sigmoid gate in place of the clip
  kVespo,          // a gamma weight of the sequence's ratio, times the log-prob
  kGeometric,      // the geometric mean of clipped ratios (GMPO)
  kLikelihood,     // the log-prob alone, no ratio (REINFORCE; GPG)
  kMirrorDescent,  // the log-prob and the square of the sequence's log-ratio (Kimi k1.5)
};

// How the tokens of a mini-batch of B samples become one number; n_i: loss tokens of sample i.
enum class Aggregation {
  kSampleMean,     // 1/B sum_i 1/n_i sum_t
  kTokenMean,      // 1/T sum, T: loss tokens of the mini-batch
  kStepTokenMean,  // 1/T' sum, T': loss tokens of the step per mini-batch
  kLengthCap,      // 1/(B max_tokens) sum
  kSampleSum,      // 1/B sum_i sum_t
};

// The ratio that the objective sees.
enum class Level {
  kToken,         // exp(lp_t - old_t)
  kSequenceMean,  // exp(mean_t(lp - old)) for every token of the sample (GSPO)
  kSequenceSum,   // exp(sum_t(lp - old)) likewise (RLOO)
};

// What happens to the ratio w = exp(old - sampler) outside its bounds.
enum class Correction { kNone, kTokenTruncate, kTokenMask, kSequenceTruncate, kSequenceMask };

// What happens to the tokens whose log-prob varies most with their advantage.
enum class Covariance { kNone, kClip, kKl };

// Clip fractions are metrics of the objectives that clip.
enum class ClipMetrics { kTwoSided, kCap, kNone };

struct LossRule {
  Objective objective;
  Aggregation aggregation;
  ClipMetrics metrics;
  // Whether every token has a policy term of its own.
  bool by_token() const {
    switch (objective) {
      case Objective::kClipped:
      case Objective::kCispo:
      case Objective::kSapo:
      case Objective::kLikelihood:
        return true;
      case Objective::kVespo:
      case Objective::kGeometric:
      case Objective::kMirrorDescent:
        return false;
    }
    return false;
  }
};

struct LossType {
  const char* name;  // loss.type
  LossRule rule;
};

// The compiler asks for every field of a row (-Wmissing-field-initializers).
inline constexpr LossType kLossTypes[] = {
    {"grpo", {Objective::kClipped, Aggregation::kSampleMean, ClipMetrics::kTwoSided}},
    {"bnpo", {Objective::kClipped, Aggregation::kTokenMean, ClipMetrics::kTwoSided}},
    {"dr_grpo", {Objective::kClipped, Aggregation::kLengthCap, ClipMetrics::kTwoSided}},
    {"dapo", {Objective::kClipped, Aggregation::kStepTokenMean, ClipMetrics::kTwoSided}},
    {"cispo", {Objective::kCispo, Aggregation::kStepTokenMean, ClipMetrics::kCap}},
    {"sapo", {Objective::kSapo, Aggregation::kSampleMean, ClipMetrics::kNone}},
    {"luspo", {Objective::kClipped, Aggregation::kSampleSum, ClipMetrics::kTwoSided}},
    {"vespo", {Objective::kVespo, Aggregation::kStepTokenMean, ClipMetrics::kNone}},
    {"omd", {Objective::kMirrorDescent, Aggregation::kSampleSum, ClipMetrics::kNone}},
    {"gpg", {Objective::kLikelihood, Aggregation::kStepTokenMean, ClipMetrics::kNone}},
    {"gmpo", {Objective::kGeometric, Aggregation::kSampleMean, ClipMetrics::kTwoSided}},
};

inline std::vector<std::string> loss_type_names() {
  std::vector<std::string> names;
  for (const LossType& type : kLossTypes) names.emplace_back(type.name);
  return names;
}

}  // namespace zeroth

// Advantages of tokens. Process supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3): every
// step of a sample has a reward, and a token's advantage is what the steps that end at or behind it
// have earned. Turns (MT-GRPO, arXiv 2505.11821): what its turn and those behind it have earned, and
// the outcome.
#pragma once

#include <span>
#include <vector>

#include "core/trajectory.h"
#include "rl/advantage.h"
#include "text/tokenizer.h"

namespace zeroth {

struct StepReward {
  size_t end = 0;  // byte of Sample::text behind the step; SIZE_MAX: the end of the sample
  double reward = 0;
};

// Of a sample, in the order of its text: the steps that a verdict's info names as "step_rewards":
// [[end, score], ..], or, where none does, the equations of the text (rewards/process.h), 1 for one
// that holds and 0 for the others, all times config.step_weight; last Sample::reward within
// [reward_min, reward_max], at the end of the sample. Steps of a plug-in that are not of that form
// are an Error.
std::vector<StepReward> step_rewards(const Sample& sample, const AdvantageConfig& config);

// With R the rewards of all steps of all these samples, which are one group's: r~ = (r - mean R) /
// (std R + std_epsilon), std over their number. Sets every advantage to the sum of the sample's r~.
// Returns false, with all advantages exactly 0, when all of R are equal.
bool assign_process_advantages(std::span<Sample* const> samples, const AdvantageConfig& config);

// Turns of these samples of one group: with R_k the rewards of turn k of the samples that have one
// (Turn::reward), O the rest of Sample::reward within [reward_min, reward_max], and x~ = (x - mean) /
// (std + std_epsilon) over those samples, 0 where all are equal,
//   A of turn j = O~ + step_weight sum over k >= j of R_k~,
// which for two turns and a reward of the first is MT-GRPO's. Sets every advantage to that of turn 0.
// Returns false, with all advantages exactly 0, when all of O and of every R_k are equal.
bool assign_turn_advantages(std::span<Sample* const> samples, const AdvantageConfig& config);

// [samples][tokens], for turns A of a token's turn, else: A of token t = the sum of r~ over the steps
// whose last token is t or behind it.
// Empty for masked samples, and everywhere in a group whose zero_variance is set. The last token of
// a step is the one that holds its last byte.
std::vector<std::vector<double>> token_advantages(const Group& group, const AdvantageConfig& config,
                                                  const Tokenizer& tokenizer);

}  // namespace zeroth

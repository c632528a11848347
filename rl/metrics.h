// One row of metrics.jsonl, under TRL's names where it has one.
#pragma once

#include "rl/alarms.h"
#include "rl/loss.h"
#include "rl/rollouts.h"
#include "rl/step_report.h"

namespace zeroth {

// Facts of sampling and grading over every group drawn, discarded ones included: completions/...,
// rewards/..., reward, reward_std, solve_rate, frac_reward_zero_std, reasons/REWARD/REASON (shares),
// facts/NAME (means of the numbers in Verdict::info), faults/KIND (share of the samples that a
// checker failed on, by the fact "fault"), entropy (of sampling), masked_share,
// dynamic_sampling/... When groups were discarded, trained/... are the same facts of the others;
// with a mixture as `task`, tasks/PART/... those of each part.
Json rollout_metrics(const Rollout& rollout, const Task* task = nullptr);

// Samples whose answer is right, of all that was sampled.
int64_t right_samples(const Rollout& rollout);

// Facts of the update: loss, policy_loss, kl, clip_ratio/..., sampling/..., grad_norm,
// learning_rate, moe/max_vio, moe/load (choices of every expert in training, a list a layer),
// moe/routing_changed/... (RoutingChange as shares, when sampling records its routing), ...
Json update_metrics(const StepReport& report, const LossConfig& loss);

// What the alarms look at.
StepHealth step_health(const Rollout& rollout, const StepReport& report);

}  // namespace zeroth

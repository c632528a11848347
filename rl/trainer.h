// The update: groups with advantages in, changed weights out. Algorithm-blind but for rl/loss.h.
//
// rl/update_plan.h deals the groups to updates, rl/training_forward.h gets their log-probs,
// rl/batch_loss.h the loss and its gradient, learn/learner.h the step.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "learn/low_rank.h"
#include "learn/optimizer.h"
#include "policy/activation_store.h"
#include "policy/policy.h"
#include "ranks/team.h"
#include "rl/advantage.h"
#include "rl/distill.h"
#include "rl/step_report.h"
#include "rl/trainer_config.h"
#include "rl/update_plan.h"
#include "rollout/sampler.h"
#include "text/tokenizer.h"

namespace zeroth {

// Owns optimizer, gradients, reference policy and caches; the policy outlives it. Not thread safe.
class Trainer {
 public:
  // `total_steps` and `max_tokens` (longest completion) come from the run's config; `temperature`
  // (> 0) is that of sampling. `reference` must be given exactly when loss.beta > 0. `team`: ranks
  // that share the steps, each with a trainer that gets the same groups; null: this one is alone.
  Trainer(Policy& policy, std::unique_ptr<Policy> reference, const TrainerConfig& config,
          const LossConfig& loss, const OptimizerConfig& optimizer, uint64_t seed,
          int64_t total_steps, int64_t max_tokens, double temperature, Team* team = nullptr,
          const LoraConfig& lora = {});
  ~Trainer();

  // The updates of step number `step`: which samples of the groups go into which, and how they are
  // cut into leaves. Deterministic; changes nothing.
  UpdatePlan plan(std::span<const Group> groups, int64_t step) const;

  // One step: inner_epochs x mini_batches updates from the groups, whose advantages are assigned
  // and whose log-probs are those of sampling. Every update publishes its weights as version
  // optimizer().steps(). Groups without loss or signal are counted, not computed; without any,
  // nothing changes. A gradient that is not finite leaves the weights as they were before that
  // update, and ends the step with grad_norm = that value. Deterministic: the same groups in the
  // same order give the same bits with any thread count. With the samples' tickets [group][sample]
  // activations are taken over from sampling; without, computed: the same bits. When `stop` becomes
  // true before the first of its optimizer updates, throws Interrupted between two forward calls
  // with the weights unchanged; later it is not looked at. `plan` must be that of these groups.
  StepReport update(const UpdatePlan& plan, std::span<const Group> groups,
                    const Tickets& tickets = {}, const std::atomic<bool>* stop = nullptr);
  // The same with the plan of now.
  StepReport update(const std::vector<Group>& groups, int64_t step, const Tickets& tickets = {},
                    const std::atomic<bool>* stop = nullptr) {
    return update(plan(groups, step), groups, tickets, stop);
  }

  // Where sampling should keep activations for the next update(); null when training computes its
  // own (reuse_mb = 0, recompute, or frozen lower layers).
  ActivationStore* activation_store();

  AdamW& optimizer();
  // What learns with LoRA; null when the weights themselves do.
  LowRankUpdate* low_rank();
  // The reference policy; null when loss.beta is 0.
  Policy* reference();
  // Tokens have the advantages of advantage.supervision = process from now on. The tokenizer outlives
  // the trainer.
  void supervise_steps(const AdvantageConfig& config, const Tokenizer& tokenizer);
  // Tokens have the advantages of rl/distill.h from now on. A teacher of another vocabulary is an
  // Error.
  void distil(std::unique_ptr<Policy> teacher, const DistillConfig& config);
  // Between steps: gives back memory that the next one takes anew. No weights are published until
  // wake(), which publishes those of now, under their version.
  void rest();
  void wake();
  // Where loss.entropy_target has brought the coefficient, for checkpoints.
  double entropy_coef() const;
  void set_entropy_coef(double coef);
  // Samples may be of older weights from now on (section async): logp_difference leaves those out.
  void expect_older_weights();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth

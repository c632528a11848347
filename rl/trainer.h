// The update: groups with advantages in, changed weights out. Algorithm-blind but for rl/loss.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/trajectory.h"
#include "learn/optimizer.h"
#include "policy/activation_store.h"
#include "policy/policy.h"
#include "ranks/team.h"
#include "rl/loss.h"
#include "rollout/sampler.h"

namespace zeroth {

struct TrainerConfig {
  int inner_epochs = 1;
  int mini_batches = 1;
  int64_t micro_batch_tokens = 8192;
  int64_t leaf_tokens = 4096;
  int branches = 1;
  bool recompute = false;
  int64_t reuse_mb = 2048;
  // The router learns by default, as TRL's, verl's and prime-rl's does: sampling and training route
  // by the same bits here, so the mismatch that made others freeze it does not arise.
  bool train_router = true;
  std::vector<std::string> freeze;
  double router_aux_coef = 0;
  double router_bias_rate = 0;
  int64_t reference_refresh = 0;
  int64_t patience = 1000;

  template <class V>
  void fields(V& v) {
    v("inner_epochs", inner_epochs, "passes over the samples of a step", Range{1, 1000});
    v("mini_batches", mini_batches, "optimizer updates per pass; groups are dealt at random",
      Range{1, 100000});
    v("micro_batch_tokens", micro_batch_tokens,
      "most rows of one forward and backward call, but at least one leaf; changes no bit",
      Range{16, 1e9});
    v("leaf_tokens", leaf_tokens,
      "a leaf is a run of samples of one problem with at most so many rows, or one sample; its "
      "gradient is summed by itself, so the last bits of the weights depend on this; smaller "
      "leaves need less memory and compute more copies of long prompts",
      Range{16, 1e9});
    v("branches", branches,
      "parts of an update that are summed apart and added as a binary tree, so that as many "
      "learners can share it; needs log2 of it + 1 gradients",
      Range{1, 1024});
    v("recompute", recompute,
      "keep only the inputs of layers and compute each again for its gradient: less memory, a "
      "third more arithmetic, the same bits");
    v("reuse_mb", reuse_mb,
      "MiB for activations of sampled tokens, which training takes over in place of computing them "
      "again (the same bits; up to one row in 16 is computed all the same and compared, and 64 "
      "log-probs of every call); 0 = always compute",
      Range{0, 1e9});
    v("train_router", train_router, "false keeps the routers of experts at their initial values");
    v("freeze", freeze,
      "parameters whose name contains one of these keep their values; nothing is computed or kept "
      "for layers below the first that learns");
    v("router_aux_coef", router_aux_coef, "weight of the load-balancing loss; 0 = off",
      Range{0, 100});
    v("router_bias_rate", router_bias_rate,
      "after every update the selection bias of overloaded experts falls by this and that of the "
      "others rises (DeepSeek-V3); 0 = off",
      Range{0, 1});
    v("reference_refresh", reference_refresh,
      "every so many steps the reference becomes the current policy; 0 = never", Range{0, 1e9});
    v("patience", patience,
      "steps in a row without any update (no group had a signal) after which the run ends with "
      "exit code 1, after a checkpoint; 0 = never",
      Range{0, 1e9});
  }
};

// What the last update of a sample saw.
struct TrainedSample {
  // [tokens] under the weights before that update; empty: the sample was not trained on.
  std::vector<float> logprobs;
  std::vector<float> reference_logprobs;  // [tokens]; empty without a reference policy
  double loss = 0;                        // its share of the mini-batch's loss, KL included
};

// What one step did. Means are over what was computed; see docs of the fields in rl/loss.h.
struct StepReport {
  LossStats stats;                          // added up over all updates of the step
  double entropy_sum = 0;                   // of the trained distribution, over stats.tokens
  double learning_rate = 0, grad_norm = 0;  // of the last update, the norm before clipping
  int updates = 0;                          // optimizer updates made
  // |log-prob in training - log-prob at sampling| over the first mini-batch, before anything was
  // updated. The same kernels compute both, so on-policy both numbers are exactly 0. Of a call
  // whose rows were recalled one sample is computed again from its tokens (not in every call when
  // that is more than one row in 16), and 64 log-probs from their last hidden states, no others.
  double logp_difference_mean = 0, logp_difference_max = 0;
  double effective_sample_size = 0;  // of the first mini-batch, by its share (docs/async.md)
  double max_vio = 0;  // max over layers of max load / mean load - 1; 0 for a dense policy
  std::vector<std::vector<int64_t>> expert_load;    // [moe layer][expert] choices in training
  std::vector<std::vector<TrainedSample>> trained;  // [group][sample] of those given to update()
  int64_t forward_rows = 0;                         // rows that were differentiated
  int64_t recalled_rows = 0;  // of them, those whose activations sampling had kept
  double recalled_share() const {
    return forward_rows > 0 ? double(recalled_rows) / double(forward_rows) : 0;
  }
  double seconds = 0;
};

// Owns optimizer, gradients, reference policy and caches; the policy outlives it. Not thread safe.
class Trainer {
 public:
  // `total_steps` and `max_tokens` (longest completion) come from the run's config; `temperature`
  // (> 0) is that of sampling. `reference` must be given exactly when loss.beta > 0. `team`: ranks
  // that share the steps, each with a trainer that gets the same groups; null: this one is alone.
  Trainer(Policy& policy, std::unique_ptr<Policy> reference, const TrainerConfig& config,
          const LossConfig& loss, const OptimizerConfig& optimizer, uint64_t seed,
          int64_t total_steps, int64_t max_tokens, double temperature, Team* team = nullptr);
  ~Trainer();

  // One step: inner_epochs x mini_batches updates from the groups, whose advantages are assigned
  // and whose log-probs are those of sampling. Every update publishes its weights as version
  // optimizer().steps(). Groups without loss or signal are counted, not computed; without any,
  // nothing changes. A gradient that is not finite leaves the weights as they were before that
  // update, and ends the step with grad_norm = that value. Deterministic: the same groups in the
  // same order give the same bits with any thread count. With the samples' tickets [group][sample]
  // activations are taken over from sampling; without, computed: the same bits. When `stop` becomes
  // true before the first of its optimizer updates, throws Interrupted between two forward calls
  // with the weights unchanged; later it is not looked at.
  StepReport update(const std::vector<Group>& groups, int64_t step, const Tickets& tickets = {},
                    const std::atomic<bool>* stop = nullptr);

  // Where sampling should keep activations for the next update(); null when training computes its
  // own (reuse_mb = 0, recompute, or frozen lower layers).
  ActivationStore* activation_store();

  AdamW& optimizer();
  // The reference policy; null when loss.beta is 0.
  Policy* reference();
  // Samples may be of older weights from now on (section async): logp_difference leaves those out.
  void expect_older_weights();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth

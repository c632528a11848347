// The update of weights, whatever is learnt: forward, accumulate, reduce, step, publish. Under
// reinforcement learning, pretraining and the gradients of `zeroth score`.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "learn/collective.h"
#include "learn/gradient_tree.h"
#include "learn/low_rank.h"
#include "learn/optimizer.h"
#include "policy/embedding_gradient.h"
#include "policy/policy.h"
#include "policy/scoring.h"

namespace zeroth {

struct LearnerConfig {
  Activations::Mode mode = Activations::Mode::kFull;
  int branches = 1;
};

// The routers' balancing loss (Policy::backward) of an update with so many responses: every part
// has its own, weighted by its share of the responses.
struct BalanceLoss {
  double coef = 0;
  int64_t responses = 1;
};

// Owns gradients, activations and the optimizer; the policy outlives it. What is trainable is
// settled before it is made. Not thread safe.
//
// The gradient is a sum in one order: over the parts of a batch and over the calls of a branch as
// they come, over branches by a tree (learn/gradient_tree.h). How parts are dealt to calls changes
// no bit of it.
//
// Use, for every update: begin(); forward() or recall(), then accumulate(), for every call;
// reduce(); step(); publish().
class Learner {
 public:
  // `collective` null: this learner is alone. `adapter`: what learns in place of the policy's
  // parameters, which are then those of the base (learn/low_rank.h); null: they learn themselves.
  Learner(Policy& policy, const OptimizerConfig& optimizer, const LearnerConfig& config = {},
          std::unique_ptr<Collective> collective = nullptr,
          std::unique_ptr<LoraAdapter> adapter = nullptr);
  ~Learner();

  // The gradient is zero again. filled[branch]: which branches accumulate() will be called for,
  // whatever member has them; {}: all. One of several members must keep it, or abandon().
  void begin(const std::vector<bool>& filled = {});
  // By the published weights: log-prob and entropy (may be null) of every response. `stats` may be
  // null.
  void forward(const TargetBatch& batch, float* logprob, float* entropy,
               RouterStats* stats = nullptr);
  // In place of forward, for a batch whose rows the store has kept: the same bits for accumulate().
  // Log-probs are asked for with score().
  void recall(const TargetBatch& batch, const ActivationStore& store,
              std::span<const int32_t> store_rows, RouterStats* stats = nullptr);
  // Of the first `rows` responses of the last call.
  void score(const TargetBatch& batch, int64_t rows, float* logprob, float* entropy) const;
  // Adds the gradient of sum_i dlogprob[i] logprob[i] + dentropy[i] entropy[i] (dentropy may be
  // null) over the responses of the last forward or recall, once for each of them, to a branch;
  // those of earlier calls are no larger. `last`: no other call comes before reduce(), so what is
  // complete goes to the other members while the rest is differentiated.
  void accumulate(const TargetBatch& batch, const float* dlogprob, const float* dentropy,
                  const BalanceLoss& balance = {}, int branch = 0, bool last = false);
  // The gradient of all members, laid out like what is updated, the policy's parameters or the
  // adapter's; of the former only this member's shard. Before step().
  std::span<const float> reduce();
  // In place of reduce() and what follows it: this update is none. All members say so.
  void abandon();
  // One update with the reduced gradient. Returns its norm over trainable parameters before
  // clipping; when that is not finite nothing is changed. Else publish() is next: of several
  // members' parameters some may be on their way until then.
  double step(double lr);
  // Publishes the parameters as version optimizer().steps().
  WeightsPtr publish();
  // Between updates: gives back what the next one takes anew, gradients, activations and the
  // published weights, which are none until publish().
  void rest();

  Policy& policy() { return policy_; }
  LowRankUpdate* low_rank() { return low_rank_.get(); }  // null without an adapter
  AdamW& optimizer() { return optimizer_; }
  Collective& collective() { return *collective_; }

 private:
  // Nothing more goes to the branch.
  void finish_branch();
  // Of what is differentiated: all members' shards.
  const Shards& shards() const;
  void collect(int branches);

  Parameters& updated() { return low_rank_ ? low_rank_->parameters() : policy_.parameters(); }

  Policy& policy_;
  std::unique_ptr<LowRankUpdate> low_rank_;
  AdamW optimizer_;
  std::unique_ptr<Collective> collective_;
  const int branches_;
  std::vector<int64_t> complete_from_;  // by layer: floats complete with it and all above it
  GradientTree gradients_;
  std::vector<std::unique_ptr<GradientTree>> collected_;  // by rank; with experts elsewhere
  int announced_ = -1;                                    // the branch that the others know of
  EmbeddingGradient inputs_;                              // of branch_
  int branch_ = 0;
  std::span<const float> reduced_;
  const Activations::Mode mode_;
  std::unique_ptr<Activations> activations_;
  Scorer scorer_;
  kernels::Array<float> dhidden_, dresponses_;
};

// score_sequences by the published weights; adds the gradient of sum(-log p) over all sequences to
// the learner's. `batch_tokens` changes no log-prob.
std::vector<std::vector<float>> differentiate_sequences(
    Learner& learner, std::span<const std::vector<TokenId>> sequences, int64_t batch_tokens = 4096);

}  // namespace zeroth

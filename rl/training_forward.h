// Log-probs and entropies of packed samples in training: from the activations that sampling has
// kept, where they are there, else by a forward call.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learn/learner.h"
#include "policy/activation_store.h"
#include "rl/micro_batch.h"
#include "rl/shared_scores.h"
#include "rl/trainer_config.h"

namespace zeroth {

// Not thread safe. So that the log-prob difference goes on to say whether training and sampling are
// one forward, a share of what sampling has kept is computed again all the same.
class TrainingForward {
 public:
  // What is trainable is settled. The learner must outlive it.
  TrainingForward(Learner& learner, const TrainerConfig& config, uint64_t seed, double temperature);

  // What the calls from now on are about; both must outlive them.
  void begin(std::span<const Group> groups, const Tickets& tickets);
  // Of the slices by the policy's published weights; the learner may accumulate() then. Which sample
  // is computed again depends on `turn`. Adds the choices of experts to `router`. Returns whether
  // the rows were recalled.
  bool forward(const SliceList& slices, int64_t turn, RouterStats& router);
  // Of the slices by any weights, which no backward follows. Only the policy's own replay routing:
  // a reference has routers of its own.
  void score(const Weights& weights, const SliceList& slices);

  // Of the last call.
  const MicroBatch& batch() const { return batch_; }
  std::span<const float> logprobs() const { return logprobs_; }    // [batch().responses()]
  std::span<const float> entropies() const { return entropies_; }  // the same
  std::span<const float> logprobs(const MicroBatch::Row& row) const {
    return logprobs().subspan(row.first, row.count);
  }
  std::span<const float> entropies(const MicroBatch::Row& row) const {
    return entropies().subspan(row.first, row.count);
  }
  void keep(ScoresBySample& scores) const;

  // Where sampling keeps activations for the next step; null: they are always computed.
  ActivationStore* store() { return reuses() ? &store_ : nullptr; }
  // What the store holds has been used.
  void forget();

 private:
  RoutingUse routing_use(const SliceList& slices) const;
  bool reuses() const;
  bool recall(const SliceList& slices, int64_t turn, RouterStats& router);
  void compute_spot(const SliceList& slices, int64_t turn);
  void recall_logprobs();
  void score_alone(const Weights& weights, const MicroBatch& of, std::vector<float>& logprobs,
                   std::vector<float>& entropies);

  Learner& learner_;
  Policy& policy_;
  const TrainerConfig config_;
  const uint64_t seed_;
  const double temperature_;
  ActivationStore store_;
  std::span<const Group> groups_;
  const Tickets* tickets_ = nullptr;
  MicroBatch batch_;
  MicroBatch spot_;        // of the one sample that is computed again, ...
  GroupSlice spot_slice_;  // ... which is this one; empty: none in this call
  Scorer scorer_;          // of that sample, and of other weights
  std::vector<float> spot_logprobs_, spot_entropies_;
  std::vector<float> logprobs_, entropies_;
};

}  // namespace zeroth

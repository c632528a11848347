// Forward calls over packed tokens whose next ones are known: log-probabilities and entropies.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "policy/packing.h"
#include "policy/weights.h"

namespace zeroth {

// A packed batch, and what its response rows predict.
struct TargetBatch {
  PackedBatch packed;
  std::vector<int32_t> target;         // [responses] the token that follows
  std::vector<float> temperature;      // [responses]
  std::vector<kernels::KeptSet> kept;  // [responses] sets of truncated sampling, or empty
  std::vector<uint16_t> experts;       // of RecordedRouting, or empty
  bool replay = false;                 // likewise

  int64_t responses() const { return static_cast<int64_t>(target.size()); }
  // What goes through the policy. Valid until the next change.
  ForwardBatch view() const;
  void clear();
};

// The calls, and the memory that they leave each other. Not thread safe.
class Scorer {
 public:
  // Leaves the hidden rows of all tokens, and what `extras` asks for.
  void forward(const Weights& weights, const TargetBatch& batch, const ForwardExtras& extras = {});
  // The same from the rows that a store has kept; see Weights::recall.
  void recall(const Weights& weights, const TargetBatch& batch, Activations& save,
              RouterStats* stats, const ActivationStore& store,
              std::span<const int32_t> store_rows);
  // Log-prob and entropy (may be null) of the first `rows` responses, from the hidden rows of the
  // call before, which must have been that of this batch.
  void score(const Weights& weights, const TargetBatch& batch, int64_t rows, float* logprob,
             float* entropy) const;

  // Of the call before; for a backward.
  kernels::At<const float> response_hidden() const { return responses_; }  // [responses, width]
  KvCache& cache() { return *cache_; }

 private:
  void prepare(const Weights& weights, const PackedBatch& batch);
  void take_responses(const Weights& weights, const PackedBatch& batch);

  kernels::Array<float> hidden_;    // [rows, width]
  kernels::Array<float> gathered_;  // [responses, width] unless they lie together in hidden_
  kernels::At<const float> responses_;
  std::unique_ptr<KvCache> cache_;
};

// Cuts sequences into passes of up to about batch_tokens rows, at least one sequence each; calls
// pass(batch), in which every sequence is a part, and every token but its first a target, at
// temperature 1. Empty
// sequences and last tokens outside the vocabulary are Errors, before any pass.
void for_each_pass(const PolicyConfig& config, std::span<const std::vector<TokenId>> sequences,
                   int64_t batch_tokens, const std::function<void(const TargetBatch&)>& pass);
// Appends the targets' values, one vector a sequence of such a batch.
void append_by_sequence(const TargetBatch& batch, std::span<const float> values,
                        std::vector<std::vector<float>>& out);

// For every sequence the natural log-prob of each token given those before it, one fewer than
// tokens; at temperature 1. Sequences are packed up to about batch_tokens rows a pass, which
// changes no bit. Empty sequences and unknown token ids are Errors.
std::vector<std::vector<float>> score_sequences(const Weights& weights,
                                                std::span<const std::vector<TokenId>> sequences,
                                                int64_t batch_tokens = 4096);

// The token of the largest logit after each of `steps` greedy steps from `prompt`, decoded one
// token at a time.
std::vector<TokenId> greedy_continuation(const Weights& weights, std::span<const TokenId> prompt,
                                         int steps);

}  // namespace zeroth

// Guesses of a checkpoint's own layer for multi-token prediction, beside the sampler's steps: the layer
// has a cache of its own, whose pages are those of the model's cache.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "policy/draft_layer.h"
#include "rollout/drafter.h"
#include "rollout/generation.h"

namespace zeroth {

// Not thread safe.
class LayerDrafts {
 public:
  // Throws Error(kUsage) when the checkpoint of the weights has no such layer.
  explicit LayerDrafts(const Weights& weights);

  // The model's cache has so many pages, and nothing in it is of use.
  void begin(const Weights& weights, int64_t pages);
  void copy_page(int32_t from, int32_t to) { cache_->copy_page(from, to); }
  // After a step was recorded, whose rows are `hidden` [rows, width]: the layer's rows of all tokens
  // whose follower is known, and with `guess` what follows the newest ones.
  void follow(const Weights& weights, const StepPlan& plan, const Generation& generation,
              kernels::At<const float> hidden, bool guess, Drafter& drafter);

 private:
  std::unique_ptr<KvCache> cache_;
  // Of the step's rows those that the layer has.
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_, sequence_, place_;
  std::vector<kernels::KvWrite> writes_;
  std::vector<std::pair<int, int64_t>> newest_;  // sequence and row
  kernels::Array<float> hidden_, out_, rows_;
  DraftLayer::Room room_;
  std::vector<TokenId> guesses_;
};

}  // namespace zeroth

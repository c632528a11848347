#include "rollout/layer_drafts.h"

#include <utility>

#include "core/error.h"

namespace zeroth {

LayerDrafts::LayerDrafts(const Weights& weights) {
  if (draft_layer_of(weights) != nullptr) return;
  fail_usage(
      "engine.draft_layer is set, and the checkpoint has no layer for multi-token prediction",
      "leave it out, or take a checkpoint with model.layers.N.eh_proj.weight beside its " +
          std::to_string(weights.config().layers) + " layers");
}

void LayerDrafts::begin(const Weights& weights, int64_t pages) {
  const PolicyConfig& config = draft_layer_of(weights)->config();
  if (cache_ == nullptr || cache_->pages() < pages) {
    cache_.reset();
    cache_ = std::make_unique<KvCache>(config, pages, weights.operators());
  }
  cache_->zero();
}

void LayerDrafts::follow(const Weights& weights, const StepPlan& plan, const Generation& generation,
                         kernels::At<const float> hidden, bool guess, Drafter& drafter) {
  tokens_.clear();
  positions_.clear();
  sequence_.clear();
  writes_.clear();
  newest_.clear();
  const kernels::Operators& ops = weights.operators();
  const int64_t width = weights.config().width;
  hidden_.on(ops.device());
  const kernels::At<float> rows = hidden_.get(static_cast<int64_t>(plan.tokens.size()) * width);
  place_.assign(plan.tokens.size(), -1);
  for (size_t i = 0; i < plan.tokens.size(); ++i) {
    const Generation::Follower next = generation.follower(plan, i);
    if (next.token < 0) continue;
    const auto row = static_cast<int64_t>(tokens_.size());
    place_[i] = static_cast<int32_t>(row);
    if (next.newest) newest_.emplace_back(plan.sources[plan.sequence[i]].sequence, row);
    tokens_.push_back(next.token);
    positions_.push_back(plan.positions[i]);
    sequence_.push_back(plan.sequence[i]);
    ops.copy(hidden + static_cast<int64_t>(i) * width, rows + row * width, width);
  }
  if (tokens_.empty()) return;
  for (const kernels::KvWrite& write : plan.writes) {
    if (place_[write.row] < 0) continue;
    writes_.push_back(write);
    writes_.back().row = place_[write.row];
  }
  const auto m = static_cast<int64_t>(tokens_.size());
  out_.on(ops.device());
  const kernels::At<float> out = out_.get(m * width);
  const ForwardBatch batch{tokens_,         positions_,      sequence_,
                           plan.page_table, plan.page_begin, writes_};
  draft_layer_of(weights)->forward(weights, batch, rows, *cache_, room_, out);
  if (!guess || newest_.empty()) return;
  rows_.on(ops.device());
  const kernels::At<float> of = rows_.get(static_cast<int64_t>(newest_.size()) * width);
  for (size_t i = 0; i < newest_.size(); ++i)
    ops.copy(out + newest_[i].second * width, of + static_cast<int64_t>(i) * width, width);
  guesses_.resize(newest_.size());
  DraftLayer::guess(weights, of, guesses_);
  for (size_t i = 0; i < newest_.size(); ++i) {
    const bool token = guesses_[i] >= 0 && guesses_[i] < weights.config().vocab_size;
    if (token) drafter.suggest(newest_[i].first, guesses_[i]);  // not of rows that are not finite
  }
}

}  // namespace zeroth

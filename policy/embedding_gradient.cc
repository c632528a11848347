#include "policy/embedding_gradient.h"

namespace zeroth {

void EmbeddingGradient::add(const kernels::Operators& ops, const float* dy,
                            std::span<const TokenId> ids, int64_t width, int64_t vocab) {
  width_ = width;
  place_.resize(vocab, -1);
  places_.clear();
  for (const TokenId id : ids) {
    if (place_[id] < 0) {
      place_[id] = static_cast<int32_t>(tokens_.size());
      tokens_.push_back(id);
    }
    places_.push_back(place_[id]);
  }
  const auto count = static_cast<int64_t>(tokens_.size());
  rows_.resize(count * width, 0.0f);
  ops.embedding_backward(dy, places_.data(), rows_.data(), static_cast<int64_t>(ids.size()), width,
                         count);
}

void EmbeddingGradient::move_to(const kernels::Operators& ops, float* table) {
  ops.embedding_backward(rows_.data(), tokens_.data(), table, static_cast<int64_t>(tokens_.size()),
                         width_, static_cast<int64_t>(place_.size()));
  clear();
}

void EmbeddingGradient::clear() {
  for (const TokenId id : tokens_) place_[id] = -1;
  tokens_.clear();
  rows_.clear();
}

}  // namespace zeroth

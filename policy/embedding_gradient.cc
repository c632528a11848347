#include "policy/embedding_gradient.h"

#include <algorithm>
#include <utility>

namespace zeroth {

using namespace kernels;

void EmbeddingGradient::add(At<const float> dy, std::span<const TokenId> ids, int64_t width,
                            int64_t vocab) {
  const auto kept = static_cast<int64_t>(tokens_.size());
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
  grow(kept, count);
  ops_.embedding_backward(dy, ids_.put(ops_.device(), places_).data(), rows_.data(),
                          static_cast<int64_t>(ids.size()), width, count);
}

void EmbeddingGradient::grow(int64_t kept, int64_t count) {
  if (count * width_ * static_cast<int64_t>(sizeof(float)) > rows_.bytes()) {
    Array<float> larger(ops_.device(), std::max(count, 2 * kept) * width_);
    if (kept > 0) ops_.copy(rows_.data(), larger.data(), kept * width_);
    rows_ = std::move(larger);
  }
  kernels::clear(ops_.device(), rows_.data() + kept * width_, (count - kept) * width_);
}

void EmbeddingGradient::move_to(At<float> table) {
  const auto count = static_cast<int64_t>(tokens_.size());
  ops_.embedding_backward(rows_.data(), ids_.put(ops_.device(), tokens_).data(), table, count,
                          width_, static_cast<int64_t>(place_.size()));
  clear();
}

void EmbeddingGradient::clear() {
  for (const TokenId id : tokens_) place_[id] = -1;
  tokens_.clear();
}

}  // namespace zeroth

// The gradient that a tied embedding gets as an input, kept apart from what it gets as the head.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "kernels/operators.h"

namespace zeroth {

// Both gradients go to the same rows. Added to one buffer as they come, the order of the sum would
// depend on how rows are dealt to calls: head, input, head, input. Here the input's are gathered
// over calls and added once. Memory: a row for every token that was met, on the device. Not thread
// safe.
class EmbeddingGradient {
 public:
  explicit EmbeddingGradient(const kernels::Operators& ops) : ops_(ops), rows_(ops.device()) {}
  // The row of ids[i] += dy[i], in ascending order; dy [ids, width]. width and vocab never change.
  void add(kernels::At<const float> dy, std::span<const TokenId> ids, int64_t width, int64_t vocab);
  // table [vocab, width] += what was gathered; nothing is left.
  void move_to(kernels::At<float> table);
  // Drops what was gathered.
  void clear();
  bool empty() const { return tokens_.empty(); }

 private:
  // Room for `count` rows: the first `kept` stay, the others are zeros.
  void grow(int64_t kept, int64_t count);

  const kernels::Operators& ops_;
  int64_t width_ = 0;
  std::vector<int32_t> place_;   // [vocab] of a token's row, -1: none
  std::vector<TokenId> tokens_;  // by place
  kernels::Array<float> rows_;   // [tokens_, width]
  std::vector<int32_t> places_;  // of the ids of one call
  kernels::Staged<int32_t> ids_;
};

}  // namespace zeroth

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
// over calls and added once. Memory: a row for every token that was met. Not thread safe.
class EmbeddingGradient {
 public:
  // The row of ids[i] += dy[i], in ascending order; dy [ids, width]. width and vocab never change.
  void add(const kernels::Operators& ops, const float* dy, std::span<const TokenId> ids,
           int64_t width, int64_t vocab);
  // table [vocab, width] += what was gathered; nothing is left.
  void move_to(const kernels::Operators& ops, float* table);
  // Drops what was gathered.
  void clear();
  bool empty() const { return tokens_.empty(); }

 private:
  int64_t width_ = 0;
  std::vector<int32_t> place_;   // [vocab] of a token's row, -1: none
  std::vector<TokenId> tokens_;  // by place
  std::vector<float> rows_;      // [tokens_, width]
  std::vector<int32_t> places_;  // of the ids of one call
};

}  // namespace zeroth

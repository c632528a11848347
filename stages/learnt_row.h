// Rows as tokens.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// A document: the loss falls on tokens with `learnt` = 1 but the first, which nothing precedes.
struct LearntRow {
  std::vector<TokenId> tokens;
  std::vector<char> learnt;  // [tokens]

  // Learnt tokens at positions 1 ..
  int64_t targets() const {
    return learnt.empty() ? 0 : std::count(learnt.begin() + 1, learnt.end(), 1);
  }
};

// Documents that share a row.
using PackedRow = std::vector<LearntRow>;

}  // namespace zeroth

// What names a stretch of operators that a back end may replay (Operators::replay).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/array.h"

namespace zeroth::kernels {

// The slot (KvWrite) of a row that only fills a batch up: written nowhere. For back ends that replay.
inline constexpr int64_t kNoSlot = -1;

struct Stretch {
  // Everything that the calls depend on, except the values in arrays: sizes, and where arrays lie.
  std::vector<uint64_t> key;
  void add(int64_t number) { key.push_back(static_cast<uint64_t>(number)); }
  template <class T>
  void add(At<T> array) {
    key.push_back(reinterpret_cast<uintptr_t>(array.address()));
  }

  // Rows of attention among the calls: their positions, and a number that none of these reaches.
  // Each is the only row of its sequence.
  View<const int32_t> positions;
  int64_t longest = 0;
};

}  // namespace zeroth::kernels

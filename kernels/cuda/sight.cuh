// What forward and backward attention share.
#pragma once

#include "kernels/cuda/arithmetic.cuh"
#include "kernels/cuda/attention.h"

namespace zeroth::kernels::cuda {

inline constexpr int kAttentionThreads = 128;

// What a row sees: positions first .. last.
struct Sight {
  int first, last;
};
ZEROTH_DEVICE Sight sight_of(const PagedRows& rows, int64_t row) {
  const int last = rows.position[row];
  const int first = rows.window > 0 ? last - rows.window + 1 : 0;
  return {first > 0 ? first : 0, last};
}

inline int64_t pieces_of(int64_t n, int64_t size) { return (n + size - 1) / size; }
inline int64_t whole_pages(int64_t positions) {
  return pieces_of(positions, kPageTokens) * kPageTokens;
}

// Query heads of a key/value head. Throws Error when they do not divide.
int checked_per_kv(const KvPages& cache, int heads);

}  // namespace zeroth::kernels::cuda

// Scores of a tile of query vectors over its pages, and what forward and backward share about pages.
#pragma once

#include "kernels/cpu/tile.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

inline constexpr int kPage = 16;
static_assert(kPage == kLanes);

ZEROTH_INLINE int least(int a, int b) { return a < b ? a : b; }
ZEROTH_INLINE int most(int a, int b) { return a > b ? a : b; }

// Pages (or vectors of columns) beside each other for a number of rows: a power of two, at most 8.
constexpr int beside(int rows) {
  return 8 * rows <= kMaxAccumulators   ? 8
         : 4 * rows <= kMaxAccumulators ? 4
         : 2 * rows <= kMaxAccumulators ? 2
                                        : 1;
}

// scores[r][page] = scale * <q[r], k[token]>, one chain over ascending k_dim per token.
template <int kRows, int kPages>
__attribute__((noinline)) void score_pages(const float* q, int k_dim, const float* k,
                                           int64_t k_page, const int32_t* pages, float scale,
                                           float* scores, int64_t ld) {
  Vec acc[kRows][kPages];
  const float* at[kPages];
#pragma GCC unroll 16
  for (int p = 0; p < kPages; ++p) {
    at[p] = k + pages[p] * k_page;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][p] = splat(0.0f);
  }
  for (int d = 0; d < k_dim; ++d) {
    Vec column[kPages];
#pragma GCC unroll 16
    for (int p = 0; p < kPages; ++p) column[p] = load(at[p] + d * kPage);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec x = splat(q[r * k_dim + d]);
#pragma GCC unroll 16
      for (int p = 0; p < kPages; ++p) acc[r][p] = fma(x, column[p], acc[r][p]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < kPages; ++p)
      store(scores + r * ld + p * kPage, mul(acc[r][p], splat(scale)));
}

template <int kRows, int kPages>
void score_rows(const float* q, int k_dim, const float* k, int64_t k_page, const int32_t* pages,
                int count, float scale, float* scores, int64_t ld) {
  int p = 0;
  for (; p + kPages <= count; p += kPages)
    score_pages<kRows, kPages>(q, k_dim, k, k_page, pages + p, scale, scores + p * kPage, ld);
  if constexpr (kPages > 1) {
    if (p < count)
      score_rows<kRows, kPages / 2>(q, k_dim, k, k_page, pages + p, count - p, scale,
                                    scores + p * kPage, ld);
  }
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

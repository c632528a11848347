// Attention of one tile of query vectors over one list of pages (docs/numerics.md, "Attention"). A
// tile only decides which query vectors share the loads of a page; every query vector has chains of
// its own.
#pragma once

#include "kernels/cpu/math.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/tile.h"

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

struct ValueArgs {
  const float* p;  // [rows][ld], entry of position `origin` first
  int64_t ld;
  int origin;
  const int32_t* pages;  // by position / 16
  const float* v;
  int64_t v_page;
  int v_dim;
  const int32_t* first;  // [rows]
  const int32_t* last;
  float* const* out;     // [rows], already at the first column
  const float* inverse;  // [rows] 1 / sum
};

// out[r] = (sum over ascending positions of p[r][position] * v[position]) * inverse[r] for kVecs
// vectors of columns. Positions that a row does not see are skipped, not multiplied by zero: what
// they hold must not matter.
template <int kRows, int kVecs, bool kTail>
__attribute__((noinline)) void value_columns(const ValueArgs& g, int column) {
  static_assert(!kTail || kVecs == 1);
  const int tail = g.v_dim - column;
  int begin = g.first[0], end = g.last[0], joint_begin = begin, joint_end = end;
  for (int r = 1; r < kRows; ++r) {
    begin = least(begin, g.first[r]);
    joint_begin = most(joint_begin, g.first[r]);
    end = most(end, g.last[r]);
    joint_end = least(joint_end, g.last[r]);
  }
  Vec acc[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) acc[r][v] = splat(0.0f);
  for (int t = begin; t <= end;) {
    const float* row = g.v + g.pages[t / kPage] * g.v_page + (t % kPage) * g.v_dim + column;
    const float* p = g.p + (t - g.origin);
    int stop = least(end, t | (kPage - 1));
    const bool joint = t >= joint_begin && t <= joint_end;
    stop = joint ? least(stop, joint_end) : (t < joint_begin ? least(stop, joint_begin - 1) : stop);
    if (joint) {
      for (; t <= stop; ++t, ++p, row += g.v_dim) {
        Vec value[kVecs];
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v)
          value[v] = kTail ? load_first(row, tail) : load(row + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const Vec x = splat(p[r * g.ld]);
#pragma GCC unroll 16
          for (int v = 0; v < kVecs; ++v) acc[r][v] = fma(x, value[v], acc[r][v]);
        }
      }
    } else {
      for (; t <= stop; ++t, ++p, row += g.v_dim) {
        Vec value[kVecs];
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v)
          value[v] = kTail ? load_first(row, tail) : load(row + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          if (t < g.first[r] || t > g.last[r]) continue;
          const Vec x = splat(p[r * g.ld]);
#pragma GCC unroll 16
          for (int v = 0; v < kVecs; ++v) acc[r][v] = fma(x, value[v], acc[r][v]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const Vec scale = splat(g.inverse[r]);
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      const Vec y = mul(acc[r][v], scale);
      if (kTail) {
        store_first(g.out[r] + column, y, tail);
      } else {
        store(g.out[r] + column + v * kLanes, y);
      }
    }
  }
}

template <int kRows, int kVecs>
void value_rows(const ValueArgs& g, int column) {
  for (; column + kVecs * kLanes <= g.v_dim; column += kVecs * kLanes)
    value_columns<kRows, kVecs, false>(g, column);
  if constexpr (kVecs > 1) {
    value_rows<kRows, kVecs / 2>(g, column);
  } else if (column < g.v_dim) {
    value_columns<kRows, 1, true>(g, column);
  }
}

// Turns the scores of one query vector (entry of position `origin` first) into exp(score -
// largest), in place; invisible lanes of the first and the last page become +0. Returns the sum and
// the largest score.
ZEROTH_INLINE float soften(float* scores, int origin, int first_position, int last_position,
                           float* largest) {
  const int begin = first_position / kPage * kPage, end = last_position / kPage * kPage;
  const Vec nothing = splat(-__builtin_inff());
  const auto mask = [&](int page) {
    const Mask seen =
        between(most(0, first_position - page), least(kPage, last_position + 1 - page));
    float* at = scores + (page - origin);
    store(at, select(seen, load(at), nothing));
  };
  mask(begin);
  mask(end);
  Vec top = nothing;
  for (int page = begin; page <= end; page += kPage)
    top = larger(load(scores + (page - origin)), top);
  *largest = largest_lane(top);
  const Vec shift = splat(*largest);
  Vec sum = splat(0.0f);
  for (int page = begin; page <= end; page += kPage) {
    float* at = scores + (page - origin);
    const Vec e = exp_bounded(sub(load(at), shift));
    sum = add(sum, e);
    store(at, e);
  }
  return sum_lanes(sum);
}

template <int kRows>
void attention_rows(const AttentionTile& t, int at, int origin, int pages, int64_t ld) {
  const int32_t* page = t.pages + origin / kPage;
  if (t.cold && at == 0) {
    for (int p = 0; p < pages; ++p) {
      const float* v = t.v + page[p] * t.v_page;
      for (int i = 0; i < kPage * t.v_dim; i += kLanes) __builtin_prefetch(v + i);
    }
  }
  float* scores = t.scores + at * ld;
  score_rows<kRows, beside(kRows)>(t.packed_q + int64_t{at} * t.k_dim, t.k_dim, t.k, t.k_page, page,
                                   pages, t.scale, scores, ld);
  float inverse[kRows];
  for (int r = 0; r < kRows; ++r) {
    float largest;
    const float sum = soften(scores + r * ld, origin, t.first[at + r], t.last[at + r], &largest);
    inverse[r] = 1.0f / sum;
    if (t.lse[at + r]) *t.lse[at + r] = largest + log(sum);
  }
  value_rows<kRows, beside(kRows)>({scores, ld, origin, t.pages, t.v, t.v_page, t.v_dim,
                                    t.first + at, t.last + at, t.out + at, inverse},
                                   0);
}

using AttentionRowsFunction = void (*)(const AttentionTile&, int, int, int, int64_t);

template <int kRows>
constexpr AttentionRowsFunction attention_rows_of() {
  if constexpr (kRows <= kMaxAccumulators) return attention_rows<kRows>;
  return nullptr;
}

inline constexpr AttentionRowsFunction kAttentionRows[kRowTile + 1] = {
    nullptr,
    attention_rows_of<1>(),
    attention_rows_of<2>(),
    attention_rows_of<3>(),
    attention_rows_of<4>(),
    attention_rows_of<5>(),
    attention_rows_of<6>(),
    attention_rows_of<7>(),
    attention_rows_of<8>(),
    attention_rows_of<9>(),
    attention_rows_of<10>(),
    attention_rows_of<11>(),
    attention_rows_of<12>(),
};

inline void attention(const AttentionTile& t) {
  int begin = t.first[0], end = t.last[0];
  for (int r = 0; r < t.vectors; ++r) {
    begin = least(begin, t.first[r]);
    end = most(end, t.last[r]);
    for (int d = 0; d < t.k_dim; ++d) t.packed_q[int64_t{r} * t.k_dim + d] = t.q[r][d];
  }
  const int origin = begin / kPage * kPage;
  const int pages = end / kPage - begin / kPage + 1;
  const int64_t ld = int64_t{pages} * kPage;
  for (int at = 0; at < t.vectors;) {
    const int rows = least(t.vectors - at, kNarrowRows);
    kAttentionRows[rows](t, at, origin, pages, ld);
    at += rows;
  }
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

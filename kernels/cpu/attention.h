// Attention of one tile of query vectors over one list of pages (docs/numerics.md, "Attention"). A
// tile only decides which query vectors share the loads of a page; every query vector has chains of
// its own.
#pragma once

#include "kernels/cpu/attention_scores.h"
#include "kernels/cpu/attention_values.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/tile.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

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
  value_rows<kRows, beside(kRows)>(
      {scores, ld, origin, t.v_page > 0 ? t.pages : nullptr, t.v, t.v_page, t.v_dim, t.first + at,
       t.last + at, t.out + at, inverse},
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

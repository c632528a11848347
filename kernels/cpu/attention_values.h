// The weighted sums of values of a tile of query vectors.
#pragma once

#include "kernels/cpu/attention_scores.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// Positions of a leaf of the sum of values; leaves begin at its multiples.
inline constexpr int kLeafPositions = 256;
static_assert(kLeafPositions % kPage == 0);

struct ValueArgs {
  const float* p;  // [rows][ld], entry of position `origin` first
  int64_t ld;
  int origin;
  const int32_t* pages;  // by position / 16; null: V has the pages from `origin` on in order
  const float* v;
  int64_t v_page;
  int v_dim;
  const int32_t* first;  // [rows]
  const int32_t* last;
  float* const* out;     // [rows], already at the first column
  const float* inverse;  // [rows] 1 / sum
};

// The chains of one leaf: acc[r] = those of value[position] by p[r][position] over the positions of
// [begin, end] that row r sees, ascending from +0. What a row does not see is skipped, not multiplied
// by zero: what lies there must not matter.
template <int kRows, int kVecs, bool kTail>
ZEROTH_INLINE void value_leaf(const ValueArgs& g, int column, int begin, int end, int joint_begin,
                              int joint_end, Vec (&acc)[kRows][kVecs]) {
  const int tail = g.v_dim - column;
  unrolled<kRows>([&](auto r) ZEROTH_INLINED {
    unrolled<kVecs>([&](auto v) ZEROTH_INLINED { acc[r][v] = splat(0.0f); });
  });
  // Positions t .. stop of one page; all rows see them, or each is asked.
  const auto chain = [&](int t, int stop, auto joint) ZEROTH_INLINED {
    const float* row = g.pages ? g.v + g.pages[t / kPage] * g.v_page + (t % kPage) * g.v_dim
                               : g.v + int64_t{t - g.origin} * g.v_dim;
    row += column;
    const float* p = g.p + (t - g.origin);
    for (; t <= stop; ++t, ++p, row += g.v_dim) {
      Vec value[kVecs];
      unrolled<kVecs>([&](auto v) ZEROTH_INLINED {
        value[v] = kTail ? load_first(row, tail) : load(row + v * kLanes);
      });
      unrolled<kRows>([&](auto r) ZEROTH_INLINED {
        if (!joint && (t < g.first[r] || t > g.last[r])) return;
        const Vec x = splat(p[r * g.ld]);
        unrolled<kVecs>([&](auto v) ZEROTH_INLINED { acc[r][v] = fma(x, value[v], acc[r][v]); });
      });
    }
  };
  for (int t = begin; t <= end;) {
    const int stop = least(end, t | (kPage - 1));
    if (t >= joint_begin && t <= joint_end) {
      const int last = least(stop, joint_end);
      chain(t, last, Index<1>());
      t = last + 1;
    } else {
      const int last = t < joint_begin ? least(stop, joint_begin - 1) : stop;
      chain(t, last, Index<0>());
      t = last + 1;
    }
  }
}

// out[r] = (sum of the leaves of value by p[r], those that row r sees something of, ascending) *
// inverse[r], for kVecs vectors of columns.
template <int kRows, int kVecs, bool kTail>
__attribute__((noinline)) void value_columns(const ValueArgs& g, int column) {
  static_assert(!kTail || kVecs == 1);
  int begin = g.first[0], end = g.last[0], joint_begin = begin, joint_end = end;
  for (int r = 1; r < kRows; ++r) {
    begin = least(begin, g.first[r]);
    joint_begin = most(joint_begin, g.first[r]);
    end = most(end, g.last[r]);
    joint_end = least(joint_end, g.last[r]);
  }
  Vec acc[kRows][kVecs], before[kRows][kVecs];  // this leaf; the sum of those before it
  unrolled<kRows>([&](auto r) ZEROTH_INLINED {
    unrolled<kVecs>([&](auto v) ZEROTH_INLINED { before[r][v] = splat(0.0f); });
  });
  for (int leaf = begin / kLeafPositions;; ++leaf) {
    value_leaf<kRows, kVecs, kTail>(g, column, most(begin, leaf * kLeafPositions),
                                    least(end, (leaf + 1) * kLeafPositions - 1), joint_begin,
                                    joint_end, acc);
    if (leaf > begin / kLeafPositions) {
      unrolled<kRows>([&](auto r) ZEROTH_INLINED {
        if (leaf <= g.first[r] / kLeafPositions) return;  // nothing before it
        const bool sees = leaf <= g.last[r] / kLeafPositions;
        unrolled<kVecs>([&](auto v) ZEROTH_INLINED {
          acc[r][v] = sees ? add(before[r][v], acc[r][v]) : before[r][v];
        });
      });
    }
    if (leaf == end / kLeafPositions) break;
    unrolled<kRows>([&](auto r) ZEROTH_INLINED {
      unrolled<kVecs>([&](auto v) ZEROTH_INLINED { before[r][v] = acc[r][v]; });
    });
  }
  unrolled<kRows>([&](auto r) ZEROTH_INLINED {
    const Vec scale = splat(g.inverse[r]);
    unrolled<kVecs>([&](auto v) ZEROTH_INLINED {
      const Vec y = mul(acc[r][v], scale);
      if (kTail) {
        store_first(g.out[r] + column, y, g.v_dim - column);
      } else {
        store(g.out[r] + column + v * kLanes, y);
      }
    });
  });
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

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

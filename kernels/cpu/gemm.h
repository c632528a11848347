// The one matrix product: a register tile of up to 12 rows x 32 columns, one FMA chain per output
// in ascending k. How many rows or panels share a tile changes only which outputs are computed
// beside each other, never a chain.
#pragma once

#include <type_traits>

#include "kernels/cpu/table.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// `columns` counts from the tile's first column and may exceed the tile.
struct Micro {
  const float* a;
  int64_t a_row, a_k;
  const float* b;
  int64_t b_k, b_panel;  // distance between k, and between the 32-column panels of a tile
  float* c;
  int64_t c_row;
  int64_t k, columns;
  const float* bias;
  Accumulate accumulate;
  // What to fetch into the first-level cache meanwhile: one line per k, `ahead_k` apart, from
  // `ahead` + i * `ahead_block` in the i-th block of kRowTile values of k.
  const float* ahead = nullptr;
  int64_t ahead_k = 0, ahead_block = 0;
  // What to fetch into the second-level cache meanwhile: per k the lines `next` + k * `next_k` and
  // `next_line` behind it.
  const float* next = nullptr;
  int64_t next_k = 0, next_line = 0;
  Blocks* blocks = nullptr;  // and so many of these as the tile has room for
};

// Lanes of the vector that starts at `column` of a tile of `columns`.
ZEROTH_INLINE Mask columns_mask(int64_t columns, int64_t column) {
  const int64_t left = columns - column;
  return first(left >= kLanes ? kLanes : left > 0 ? static_cast<int>(left) : 0);
}

// kRows values of A for one k after the other. Rows are reached from one pointer per three of them:
// with a distance of its own for each, the general registers would not do, and the reloads cost a
// tenth of the speed.
template <int kRows, bool kContiguous>
struct RowsOfA {
  static constexpr int kPerPointer = 3, kPointers = (kRows + kPerPointer - 1) / kPerPointer;
  const float* from[kPointers];
  int64_t row;

  ZEROTH_INLINE RowsOfA(const float* a, int64_t a_row) : row(a_row) {
    unrolled<kPointers>([&](auto i) ZEROTH_INLINED {
      from[i] = a + i * kPerPointer * a_row;
      // Or the compiler sees their common origin and makes them distances again.
      asm("" : "+r"(from[i]));
    });
  }
  ZEROTH_INLINE Vec operator[](int r) const {
    return splat(from[r / kPerPointer][r % kPerPointer * row]);
  }
  ZEROTH_INLINE void next(int64_t) {
    unrolled<kPointers>([&](auto i) ZEROTH_INLINED { ++from[i]; });
  }
};
template <int kRows>
struct RowsOfA<kRows, true> {
  const float* from;
  ZEROTH_INLINE RowsOfA(const float* a, int64_t) : from(a) {}
  ZEROTH_INLINE Vec operator[](int r) const { return splat(from[r]); }
  ZEROTH_INLINE void next(int64_t a_k) { from += a_k; }
};

// kContiguous: A's values of one k are neighbours (a_row is 1); else those of one row are (a_k is).
template <int kRows, int kVecs, bool kContiguous>
__attribute__((noinline)) void micro(const Micro& t) {
  static_assert(kRows * kVecs <= kMaxAccumulators || kRows == 1);
  Vec acc[kRows][kVecs];
  const auto outputs = [](const auto& f) ZEROTH_INLINED {
    unrolled<kVecs>(
        [&](auto v) ZEROTH_INLINED { unrolled<kRows>([&](auto r) ZEROTH_INLINED { f(r, v); }); });
  };
  outputs([&](auto r, auto v) ZEROTH_INLINED { acc[r][v] = splat(0.0f); });
  if (t.accumulate == Accumulate::kContinue) {
    outputs([&](auto r, auto v) ZEROTH_INLINED {
      acc[r][v] = load_masked(t.c + r * t.c_row + v * kLanes, columns_mask(t.columns, v * kLanes));
    });
  }
  unrolled<kRows>([&](auto r) ZEROTH_INLINED {
    __builtin_prefetch(t.c + r * t.c_row, 1);
    if (kVecs > 1) __builtin_prefetch(t.c + r * t.c_row + kLanes, 1);
  });
  RowsOfA<kRows, kContiguous> a(t.a, t.a_row);
  const float* b = t.b;
  const int64_t a_k = t.a_k, b_k = t.b_k, b_panel = t.b_panel;
  const auto multiply_add = [&]() ZEROTH_INLINED {
    Vec bv[kVecs];
    unrolled<kVecs>([&](auto v)
                        ZEROTH_INLINED { bv[v] = load(b + (v / 2) * b_panel + (v % 2) * kLanes); });
    unrolled<kRows>([&](auto r) ZEROTH_INLINED {
      const Vec x = a[r];
      unrolled<kVecs>([&](auto v) ZEROTH_INLINED { acc[r][v] = fma(x, bv[v], acc[r][v]); });
    });
    a.next(a_k);
    b += b_k;
  };
  int64_t k = t.k;
  // As many k as fill blocks of kRowTile, while lines are fetched.
  const auto fetching = [&](auto fetches_next, auto fetches_blocks) ZEROTH_INLINED {
    const float* ahead = t.ahead ? t.ahead : t.next;
    const float* next = t.next;
    for (; k >= kRowTile; k -= kRowTile, ahead += t.ahead_block) {
      const float* line = ahead;
      const float* block[Blocks::kBeside];
      if constexpr (fetches_blocks) {
        for (const float*& b : block) b = t.blocks->take();
      }
      for (int i = 0; i < kRowTile; ++i, line += t.ahead_k) {
        __builtin_prefetch(line);
        if constexpr (fetches_next) {
          __builtin_prefetch(next, 0, 2);
          __builtin_prefetch(next + t.next_line, 0, 2);
          next += t.next_k;
        }
        if constexpr (fetches_blocks) {
          unrolled<Blocks::kBeside>(
              [&](auto j) ZEROTH_INLINED { __builtin_prefetch(block[j] + i * kLineFloats, 0, 2); });
        }
        multiply_add();
      }
    }
  };
  const bool has_blocks = t.blocks && t.blocks->left >= k / kRowTile * Blocks::kBeside;
  if (t.next && has_blocks) {
    fetching(std::true_type(), std::true_type());
  } else if (t.next) {
    fetching(std::true_type(), std::false_type());
  } else if (t.ahead && has_blocks) {
    fetching(std::false_type(), std::true_type());
  } else if (t.ahead) {
    fetching(std::false_type(), std::false_type());
  }
  for (; k > 0; --k) multiply_add();
  if (t.accumulate == Accumulate::kAdd) {
    outputs([&](auto r, auto v) ZEROTH_INLINED {
      const Mask mask = columns_mask(t.columns, v * kLanes);
      acc[r][v] = add(load_masked(t.c + r * t.c_row + v * kLanes, mask), acc[r][v]);
    });
  }
  if (t.bias) {
    outputs([&](auto r, auto v) ZEROTH_INLINED {
      const Mask mask = columns_mask(t.columns, v * kLanes);
      acc[r][v] = add(acc[r][v], load_masked(t.bias + v * kLanes, mask));
    });
  }
  if (t.columns >= kVecs * kLanes) {  // masked stores are slower even when the mask is full
    outputs([&](auto r, auto v)
                ZEROTH_INLINED { store(t.c + r * t.c_row + v * kLanes, acc[r][v]); });
    return;
  }
  outputs([&](auto r, auto v) ZEROTH_INLINED {
    store_masked(t.c + r * t.c_row + v * kLanes, acc[r][v], columns_mask(t.columns, v * kLanes));
  });
}

using MicroFunction = void (*)(const Micro&);

// Rows of a tile of one vector of columns.
inline constexpr int kNarrowRows = kMaxAccumulators < kRowTile ? kMaxAccumulators : kRowTile;

struct MicroShape {
  MicroFunction f[2][2];  // columns 16 or 32, and kContiguous
};
template <int kRows>
constexpr MicroShape micro_of() {
  MicroShape shape = {};
  if constexpr (kRows <= kMaxAccumulators) {
    shape.f[0][0] = micro<kRows, 1, false>;
    shape.f[0][1] = micro<kRows, 1, true>;
  }
  if constexpr (2 * kRows <= kMaxAccumulators) {
    shape.f[1][0] = micro<kRows, 2, false>;
    shape.f[1][1] = micro<kRows, 2, true>;
  }
  return shape;
}

inline constexpr MicroShape kMicro[kRowTile + 1] = {  // by rows
    {},
    micro_of<1>(),
    micro_of<2>(),
    micro_of<3>(),
    micro_of<4>(),
    micro_of<5>(),
    micro_of<6>(),
    micro_of<7>(),
    micro_of<8>(),
    micro_of<9>(),
    micro_of<10>(),
    micro_of<11>(),
    micro_of<12>()};

// All rows against up to 32 columns. Instruction sets with few registers take 16 columns at a time.
// Fetches the strips of `first` beside its first tiles, those of `then` beside others, as far as
// there are tiles.
inline void gemm_panel(Micro t, int64_t m, const Strips& first = {}, const Strips& then = {}) {
  constexpr bool kWide = kMaxAccumulators >= 2 * kRowTile;
  const float* a = t.a;
  for (int64_t column = 0; column < t.columns; column += kLanes) {
    const bool wide = kWide && t.columns > kLanes;
    const int64_t most = wide ? kRowTile : kNarrowRows;
    const int64_t tiles = (m + most - 1) / most;
    const int64_t beside = first.count + then.count > tiles ? 2 : 1;  // strips beside a tile
    Micro part = t;
    part.b = t.b + column;
    part.columns = wide ? t.columns : (t.columns - column < kLanes ? t.columns - column : kLanes);
    part.bias = t.bias ? t.bias + column : nullptr;
    for (int64_t i = 0, row = 0; i < tiles; ++i) {
      const int64_t rows = (m - row + (tiles - i) - 1) / (tiles - i);  // of about equal height
      part.a = a + row * t.a_row;
      part.c = t.c + column + row * t.c_row;
      if (t.a_k == 1) {  // rows of A: those of the next tile
        part.ahead = part.a + rows * t.a_row;
        part.ahead_k = t.a_row;
        part.ahead_block = kLanes;
      } else {  // columns of A: the last of the next tile's
        part.ahead = part.a + (rows + kRowTile - 1) * t.a_row;
        part.ahead_k = t.a_k;
        part.ahead_block = kRowTile * t.a_k;
      }
      const int64_t at = i * beside;
      const Strips& strips = at < first.count ? first : then;
      const int64_t strip = at < first.count ? at : at - first.count;
      part.next = strip < strips.count ? strips.from + strip * strips.strip : nullptr;
      part.next_k = strips.step;
      part.next_line = beside == 2 ? strips.strip : 0;
      kMicro[rows].f[wide][t.a_k != 1](part);
      row += rows;
    }
    if (wide) return;
  }
}

inline void gemm(const GemmArgs& g) {
  Micro t;
  t.a = g.a;
  t.a_row = g.a_row;
  t.a_k = g.a_k;
  t.b_k = kPanelColumns;
  t.b_panel = g.panel;
  t.c_row = g.c_row;
  t.k = g.k;
  t.accumulate = g.accumulate;
  Blocks blocks = g.blocks;
  t.blocks = blocks.left > 0 ? &blocks : nullptr;
  const int64_t panels = (g.columns + kPanelColumns - 1) / kPanelColumns;
  int64_t column = 0;
  const auto at = [&](int64_t col) {
    t.b = g.b + col / kPanelColumns * g.panel;
    t.c = g.c + col;
    t.columns = g.columns - col;
    t.bias = g.bias ? g.bias + col : nullptr;
  };
  // One row: four panels at a time keep enough loads and chains in flight to stream the weights.
  if (g.m == 1 && g.a_k == 1) {
    constexpr int kVecs = kMaxAccumulators >= 24 ? 8 : 4;
    constexpr int kColumns = kVecs * kLanes;
    for (; column + kColumns - kPanelColumns < g.columns; column += kColumns) {
      at(column);
      micro<1, kVecs, false>(t);
    }
  }
  if constexpr (kMaxAccumulators >= 24) {
    if (g.m >= 2 && g.m <= 5 && g.a_k == 1) {
      for (; column + 32 < g.columns; column += 64) {
        at(column);
        if (g.m == 2) micro<2, 4, false>(t);
        if (g.m == 3) micro<3, 4, false>(t);
        if (g.m == 4) micro<4, 4, false>(t);
        if (g.m == 5) micro<5, 4, false>(t);
      }
    }
  }
  for (; column < g.columns; column += kPanelColumns) {
    at(column);
    // Weights come from memory once per product; the core's own prefetcher alone leaves it waiting.
    const bool more = column + kPanelColumns < g.columns && g.next_panel.count > 0;
    if (t.columns > kPanelColumns) t.columns = kPanelColumns;
    gemm_panel(t, g.m, more ? panel_strips(t.b + g.panel, kPanelColumns) : g.next_panel,
               g.later.part(column / kPanelColumns, panels));
  }
}

inline void gemm_pack_b(const float* b, int64_t ldb, int64_t k, int64_t columns, float* panel) {
  if (columns >= kPanelColumns) {
    for (int64_t i = 0; i < k; ++i, b += ldb, panel += kPanelColumns) {
      const Vec lo = load(b), hi = load(b + kLanes);
      store(panel, lo);
      store(panel + kLanes, hi);
    }
    return;
  }
  for (int64_t i = 0; i < k; ++i, b += ldb, panel += kPanelColumns) {
    store(panel, load_masked(b, columns_mask(columns, 0)));
    store(panel + kLanes, load_masked(b + kLanes, columns_mask(columns, kLanes)));
  }
}

// out [4][32 apart] = in [4][ld apart]^T: four columns of four rows, as bits.
ZEROTH_INLINE void transpose_four(const float* in, int64_t ld, float* out) {
  typedef float Four __attribute__((vector_size(16)));
  Four a, b, c, d;
  __builtin_memcpy(&a, in, sizeof(a));
  __builtin_memcpy(&b, in + ld, sizeof(b));
  __builtin_memcpy(&c, in + 2 * ld, sizeof(c));
  __builtin_memcpy(&d, in + 3 * ld, sizeof(d));
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const Four rows[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                        __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                        __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                        __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) __builtin_memcpy(out + i * kPanelColumns, &rows[i], sizeof(Four));
}

// Panel [k][32] from `rows` rows of a [out, in] matrix.
inline void pack_weight(const float* w, int64_t ldw, int64_t rows, int64_t k, float* panel) {
  constexpr int64_t kBlock = 16;  // one cache line of every row at a time
  for (int64_t k0 = 0; k0 < k; k0 += kBlock) {
    const int64_t end = k0 + kBlock < k ? k0 + kBlock : k;
    int64_t i = k0;
    if (rows == kPanelColumns) {
      for (; i + 4 <= end; i += 4) {
        for (int64_t r = 0; r < rows; r += 4) {
          transpose_four(w + r * ldw + i, ldw, panel + i * kPanelColumns + r);
        }
      }
    }
    for (; i < end; ++i) {
      float* to = panel + i * kPanelColumns;
      for (int64_t r = 0; r < rows; ++r) to[r] = w[r * ldw + i];
      for (int64_t r = rows; r < kPanelColumns; ++r) to[r] = 0.0f;
    }
  }
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// The register tile of the matrix product: some rows of C x some vectors of its columns, each
// element a sum of leaves: one chain of fused multiply-adds in ascending k each, added in ascending
// order. How many rows and columns share a tile changes which elements are computed beside each
// other, never a chain.
#pragma once

#include "kernels/cpu/fetches.h"
#include "kernels/cpu/gemm_args.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// Most rows of a tile of one vector of columns, and whether the registers hold tiles of two vectors
// and kRowTile rows. Otherwise a panel is gone through twice, by its left and its right half.
inline constexpr int kNarrowRows = kMaxAccumulators < kRowTile ? kMaxAccumulators : kRowTile;
inline constexpr bool kWide = kMaxAccumulators >= 2 * kRowTile;

// B is float or Bfloat16, which is widened. Pointers are at the tile's first element.
template <class B>
struct Tile {
  const float* a;
  int64_t lda;
  const B* b;
  int64_t b_k, b_panel;  // distance between k, and between 32-column panels
  float* c;
  int64_t ldc;
  int64_t k, leaf;  // values of k, and how many of them a chain has
  int64_t columns;  // of C from here on: may be more or fewer than the tile has
  const float* bias;
  Accumulate accumulate;
  Fetches fetches = {};
};

// The values of A for one k after the other, of a row each. Rows lie `lda` apart, and one pointer
// serves three of them: with an offset for every row the processor's general registers would not
// suffice, and reloading them costs a tenth of the speed.
template <int kRows, bool kByColumns>
struct RowsOfA {
  static constexpr int kPerPointer = 3, kPointers = (kRows + kPerPointer - 1) / kPerPointer;
  const float* from[kPointers];
  int64_t lda;

  ZEROTH_INLINE RowsOfA(const float* a, int64_t distance) : lda(distance) {
    unrolled<kPointers>([&](auto i) ZEROTH_INLINED {
      from[i] = a + i * kPerPointer * lda;
      // Hides from the compiler that the pointers have one origin: it would keep that and offsets.
      asm("" : "+r"(from[i]));
    });
  }
  ZEROTH_INLINE Vec operator[](int r) const {
    return splat(from[r / kPerPointer][r % kPerPointer * lda]);
  }
  ZEROTH_INLINE void next() {
    unrolled<kPointers>([&](auto i) ZEROTH_INLINED { ++from[i]; });
  }
};
// A by columns: the rows' values of one k lie beside each other, the next k's `lda` behind them.
template <int kRows>
struct RowsOfA<kRows, true> {
  const float* from;
  int64_t lda;
  ZEROTH_INLINE RowsOfA(const float* a, int64_t distance) : from(a), lda(distance) {}
  ZEROTH_INLINE Vec operator[](int r) const { return splat(from[r]); }
  ZEROTH_INLINE void next() { from += lda; }
};

template <int kRows, int kVecs, bool kByColumns, class B>
__attribute__((noinline)) void tile(const Tile<B>& t) {
  static_assert(kRows * kVecs <= kMaxAccumulators || kRows == 1);
  Vec acc[kRows][kVecs];
  const auto outputs = [](const auto& f) ZEROTH_INLINED {
    unrolled<kVecs>(
        [&](auto v) ZEROTH_INLINED { unrolled<kRows>([&](auto r) ZEROTH_INLINED { f(r, v); }); });
  };
  const auto c = [&](int r, int v) ZEROTH_INLINED { return t.c + r * t.ldc + v * kLanes; };
  const auto mask = [&](int v) ZEROTH_INLINED { return columns_mask(t.columns, v * kLanes); };

  unrolled<kRows>([&](auto r) ZEROTH_INLINED {
    __builtin_prefetch(c(r, 0), 1);
    if (kVecs > 1) __builtin_prefetch(c(r, 1), 1);
  });

  RowsOfA<kRows, kByColumns> a(t.a, t.lda);
  const B* b = t.b;
  const int64_t b_k = t.b_k, b_panel = t.b_panel;
  const auto step = [&]() ZEROTH_INLINED {
    Vec bv[kVecs];
    unrolled<kVecs>([&](auto v)
                        ZEROTH_INLINED { bv[v] = load(b + (v / 2) * b_panel + (v % 2) * kLanes); });
    unrolled<kRows>([&](auto r) ZEROTH_INLINED {
      const Vec x = a[r];
      unrolled<kVecs>([&](auto v) ZEROTH_INLINED { acc[r][v] = fma(x, bv[v], acc[r][v]); });
    });
    a.next();
    b += b_k;
  };
  // What is masked is slower even when the mask is full.
  const bool whole = t.columns >= kVecs * kLanes;
  const auto store_outputs = [&]() ZEROTH_INLINED {
    if (whole) {
      outputs([&](auto r, auto v) ZEROTH_INLINED { store(c(r, v), acc[r][v]); });
    } else {
      outputs([&](auto r, auto v) ZEROTH_INLINED { store_masked(c(r, v), acc[r][v], mask(v)); });
    }
  };

  // C holds the sum of the leaves so far: registers are for one leaf only.
  Fetches fetches = t.fetches;
  Accumulate mode = t.accumulate;
  for (int64_t left = t.k;;) {
    outputs([&](auto r, auto v) ZEROTH_INLINED { acc[r][v] = splat(0.0f); });
    if (mode == Accumulate::kContinue) {
      outputs([&](auto r, auto v) ZEROTH_INLINED { acc[r][v] = load_masked(c(r, v), mask(v)); });
    }
    for_each_k(fetches, left < t.leaf ? left : t.leaf, step);
    if (mode == Accumulate::kAdd && whole) {
      outputs([&](auto r, auto v) ZEROTH_INLINED { acc[r][v] = add(load(c(r, v)), acc[r][v]); });
    } else if (mode == Accumulate::kAdd) {
      outputs([&](auto r, auto v)
                  ZEROTH_INLINED { acc[r][v] = add(load_masked(c(r, v), mask(v)), acc[r][v]); });
    }
    left -= t.leaf;
    if (left <= 0) break;
    store_outputs();
    mode = Accumulate::kAdd;
  }

  if (t.bias) {
    outputs([&](auto r, auto v) ZEROTH_INLINED {
      acc[r][v] = add(acc[r][v], load_masked(t.bias + v * kLanes, mask(v)));
    });
  }
  store_outputs();
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

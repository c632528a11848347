// Moves matrices into the panels that the product reads, and numbers between float and bfloat16.
#pragma once

#include "kernels/cpu/gemm_args.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// Lanes of the vector that starts at `column` of `columns`.
ZEROTH_INLINE Mask columns_mask(int64_t columns, int64_t column) {
  const int64_t left = columns - column;
  return first(left >= kLanes ? kLanes : left > 0 ? static_cast<int>(left) : 0);
}

// Panel [k][32] from up to 32 columns of k rows, `ldb` apart.
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

typedef float FourFloats __attribute__((vector_size(16)));
ZEROTH_INLINE FourFloats load_four(const float* p) {
  FourFloats x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
ZEROTH_INLINE FourFloats load_four(const Bfloat16* p) {
  typedef Bfloat16 FourHalves __attribute__((vector_size(8)));
  typedef uint32_t FourWords __attribute__((vector_size(16)));
  FourHalves halves;
  __builtin_memcpy(&halves, p, sizeof(halves));
  const FourWords words = __builtin_convertvector(halves, FourWords) << 16;
  FourFloats x;
  __builtin_memcpy(&x, &words, sizeof(x));
  return x;
}

// out [4][32 apart] = in [4][ld apart]^T: four columns of four rows, as bits.
template <class T>
ZEROTH_INLINE void transpose_four(const T* in, int64_t ld, float* out) {
  const FourFloats a = load_four(in), b = load_four(in + ld), c = load_four(in + 2 * ld),
                   d = load_four(in + 3 * ld);
  const FourFloats ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const FourFloats ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const FourFloats cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const FourFloats cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const FourFloats rows[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                              __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                              __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                              __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) {
    __builtin_memcpy(out + i * kPanelColumns, &rows[i], sizeof(FourFloats));
  }
}

// out [k][32] = w [rows, k]^T, up to 32 rows `ldw` apart; columns behind the last row are +0.
ZEROTH_INLINE void pack_block(const float* w, int64_t ldw, int64_t rows, int64_t k, float* out) {
  int64_t i = 0;
  if (rows == kPanelColumns) {
    for (; i + 4 <= k; i += 4) {
      for (int64_t r = 0; r < rows; r += 4) {
        transpose_four(w + r * ldw + i, ldw, out + i * kPanelColumns + r);
      }
    }
  }
  for (; i < k; ++i) {
    float* to = out + i * kPanelColumns;
    for (int64_t r = 0; r < rows; ++r) to[r] = w[r * ldw + i];
    for (int64_t r = rows; r < kPanelColumns; ++r) to[r] = 0.0f;
  }
}

// Calls f(first, count) for k in pieces: one cache line of every row at a time.
template <class F>
ZEROTH_INLINE void by_lines(int64_t k, const F& f) {
  for (int64_t i = 0; i < k; i += kLineFloats) f(i, k - i < kLineFloats ? k - i : kLineFloats);
}

// Panel [k][32] from `rows` rows of a [out, in] matrix.
inline void pack_weight(const float* w, int64_t ldw, int64_t rows, int64_t k, float* panel) {
  by_lines(k, [&](int64_t i, int64_t count) ZEROTH_INLINED {
    pack_block(w + i, ldw, rows, count, panel + i * kPanelColumns);
  });
}
inline void pack_weight_bfloat16(const float* w, int64_t ldw, int64_t rows, int64_t k,
                                 Bfloat16* panel) {
  float block[kLineFloats * kPanelColumns];
  by_lines(k, [&](int64_t i, int64_t count) ZEROTH_INLINED {
    pack_block(w + i, ldw, rows, count, block);
    for (int64_t j = 0; j < count * kPanelColumns; j += kLanes) {
      store(panel + i * kPanelColumns + j, load(block + j));
    }
  });
}

// The way back, for the backward pass: from `columns` rows of a panel [k][32] of packed weights, up
// to 32, out [32][32] with what they hold of 32 rows of W; columns behind them are +0.
template <class T>
inline void unpack_weight(const T* panel, int64_t columns, float* out) {
  for (int64_t i = 0; i < kPanelColumns; i += 4, panel += 4 * kPanelColumns) {
    const T* four = panel;
    T padded[4 * kPanelColumns];
    if (i + 4 > columns) {
      const int64_t whole = i < columns ? (columns - i) * kPanelColumns : 0;
      for (int64_t j = 0; j < 4 * kPanelColumns; ++j) padded[j] = j < whole ? panel[j] : T{};
      four = padded;
    }
    for (int64_t r = 0; r < kPanelColumns; r += 4) {
      transpose_four(four + r, kPanelColumns, out + r * kPanelColumns + i);
    }
  }
}

inline void widen(const Bfloat16* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, load(x + i));
  Bfloat16 last[kLanes] = {};
  for (int64_t j = i; j < n; ++j) last[j - i] = x[j];
  if (i < n) store_first(y + i, load(last), static_cast<int>(n - i));
}
inline void narrow(const float* x, Bfloat16* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, load(x + i));
  Bfloat16 last[kLanes];
  if (i < n) store(last, load_first(x + i, static_cast<int>(n - i)));
  for (int64_t j = i; j < n; ++j) y[j] = last[j - i];
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// How a tile of a product comes into shared memory: kStep values of k of its rows of A and columns
// of B, each as [k][row or column], so that a thread reads neighbouring ones as vectors. Every
// operand has one pointer that all threads share and moves along k, and offsets of 32 bits that
// stay: registers are what limits how many warps a multiprocessor holds.
//
// begin(x, ld, first, size, k): where the tile's first row (column) `first` of `size` stands at k.
// Those from `size` on read the last one; nobody reads what they give.
#pragma once

#include "kernels/cuda/arithmetic.cuh"

namespace zeroth::kernels::cuda {

inline constexpr int kStep = 16;      // values of k in a stage
inline constexpr int kColumns = 128;  // of a tile
inline constexpr int kPad = 4;        // floats behind a row of a stage, against bank conflicts
inline constexpr int kPanel = 32;     // columns of a panel of weights

ZEROTH_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
// The same for what is rarely done: nothing that comes of it is worked out early and kept in
// registers through the main loop.
ZEROTH_DEVICE int thread_again() {
#if defined(__CUDACC__)
  int t;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t));
  return t;
#else
  return thread();
#endif
}

// Four neighbours, as a vector where rows begin at multiples of 16 bytes.
template <bool kAligned>
ZEROTH_DEVICE float4 four_of(const float* p) {
  if constexpr (kAligned) return load_four(p);
  return {p[0], p[1], p[2], p[3]};
}
ZEROTH_DEVICE float4 four_of(const float* p) { return load_four(p); }
ZEROTH_DEVICE float4 four_of(const Bfloat16* p) {
  const uint2 v = load_four(p);
  return {float_of(v.x << 16), float_of(v.x & 0xffff0000u), float_of(v.y << 16),
          float_of(v.y & 0xffff0000u)};
}
// Four values of k of one row go to four rows of a stage of kSize columns.
template <int kSize>
ZEROTH_DEVICE void store_turned(float* to, const float4& v) {
  to[0] = v.x;
  to[kSize + kPad] = v.y;
  to[2 * (kSize + kPad)] = v.z;
  to[3 * (kSize + kPad)] = v.w;
}

// A matrix by rows of k: element (k, i) at x[i * ld + k]. Its quads lie along k, and are turned on
// their way.
template <int kSize, int kThreads, bool kAligned>
struct RowsOperand {
  static constexpr int kAcross = kStep / 4;  // quads of a row
  static constexpr int kQuads = kSize * kAcross, kEach = (kQuads + kThreads - 1) / kThreads;
  const float* from;
  int ld, rows;  // rows that there are, of the tile
  float4 held[kEach];

  ZEROTH_DEVICE void begin(const void* x, int64_t distance, int64_t first, int64_t size,
                           int64_t k) {
    from = static_cast<const float*>(x) + first * distance + k;
    ld = static_cast<int>(distance);
    rows = static_cast<int>(size - first < kSize ? size - first : kSize);
  }
  ZEROTH_DEVICE bool has(int i) const {
    return kQuads % kThreads == 0 || thread() + i * kThreads < kQuads;
  }
  ZEROTH_DEVICE void load(float*) {
    ZEROTH_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int row = thread() / kAcross + i * (kThreads / kAcross);
      if (has(i)) {
        held[i] =
            four_of<kAligned>(from + ((row < rows ? row : rows - 1) * ld + thread() % kAcross * 4));
      }
    }
    from += kStep;
  }
  ZEROTH_DEVICE void store(float* stage) const {
    float* const to = stage + thread() % kAcross * 4 * (kSize + kPad) + thread() / kAcross;
    ZEROTH_UNROLL
    for (int i = 0; i < kEach; ++i) {
      if (has(i)) store_turned<kSize>(to + i * (kThreads / kAcross), held[i]);
    }
  }
  // `rest` values of k, fewer than a stage: once a leaf at most, so without haste.
  ZEROTH_DEVICE void rest(int rest, float* stage) {
    for (int e = thread_again(); e < kSize * rest; e += kThreads) {
      const int row = e / rest < rows ? e / rest : rows - 1;
      stage[e % rest * (kSize + kPad) + e / rest] = from[row * ld + e % rest];
    }
    from += rest;
  }
};

// A matrix by columns of k: element (k, i) at x[k * ld + i]. Copied as it lies, straight into the
// stage; there when it is waited for. kAligned: the number of columns is a multiple of 4, too.
template <int kSize, int kThreads, bool kAligned>
struct ColumnsOperand {
  static constexpr int kAcross = kSize / 4;  // quads of one k
  static constexpr int kEach = kStep * kAcross / kThreads;
  static_assert(kStep * kAcross % kThreads == 0 && kThreads % kAcross == 0);
  const float* from;
  int ld, columns;

  ZEROTH_DEVICE void begin(const void* x, int64_t distance, int64_t first, int64_t size,
                           int64_t k) {
    from = static_cast<const float*>(x) + k * distance + first;
    ld = static_cast<int>(distance);
    columns = static_cast<int>(size - first < kSize ? size - first : kSize);
  }
  ZEROTH_DEVICE void load(float* stage) {
    const int column = thread() % kAcross * 4;
    ZEROTH_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const int k = thread() / kAcross + i * (kThreads / kAcross);
      float* const to = stage + k * (kSize + kPad) + column;
      if constexpr (kAligned) {
        const int at = column < columns ? column : columns - 4;
        __pipeline_memcpy_async(to, from + (k * ld + at), 16);
      } else {
        ZEROTH_UNROLL
        for (int j = 0; j < 4; ++j) {
          const int at = column + j < columns ? column + j : columns - 1;
          __pipeline_memcpy_async(to + j, from + (k * ld + at), 4);
        }
      }
    }
    from += kStep * ld;
  }
  ZEROTH_DEVICE void store(float*) const {}
  ZEROTH_DEVICE void rest(int rest, float* stage) {
    for (int e = thread_again(); e < kSize * rest; e += kThreads) {
      const int column = e % kSize < columns ? e % kSize : columns - 1;
      stage[e / kSize * (kSize + kPad) + e % kSize] = from[e / kSize * ld + column];
    }
    from += rest * ld;
  }
};

// --- weights W [out, in] in panels [out / 32][in][32]; ld: `in`

// Forward: k runs along `in`, columns along `out`; a panel's rows of k are copied as they lie.
// Columns behind the last panel read that panel again.
template <class T, int kThreads>
struct PanelOperand {
  static constexpr int kWide = 16 / sizeof(T);      // elements of a vector
  static constexpr int kAcross = kColumns / kWide;  // vectors of one k
  static constexpr int kEach = kStep * kAcross / kThreads;
  static_assert(kStep * kAcross % kThreads == 0 && kThreads % kAcross == 0);
  static constexpr bool kAsync = sizeof(T) == sizeof(float);
  const T* from;
  int panel, panels;  // elements of a panel; panels that there are, of the tile
  uint4 held[kAsync ? 1 : kEach];

  ZEROTH_DEVICE void begin(const void* w, int64_t in, int64_t first, int64_t size, int64_t k) {
    from = static_cast<const T*>(w) + first * in + k * kPanel;
    panel = static_cast<int>(in) * kPanel;
    const int64_t left = (size - first + kPanel - 1) / kPanel;
    panels = static_cast<int>(left < kColumns / kPanel ? left : kColumns / kPanel);
  }
  ZEROTH_DEVICE int offset(int column) const {
    const int p = column / kPanel;
    return (p < panels ? p : panels - 1) * panel + column % kPanel;
  }
  ZEROTH_DEVICE float* place(float* stage, int i) const {
    return stage + (thread() / kAcross + i * (kThreads / kAcross)) * (kColumns + kPad) +
           thread() % kAcross * kWide;
  }
  // float32: straight into the stage, there when it is waited for; bfloat16: widened by store().
  ZEROTH_DEVICE void load(float* stage) {
    const T* const at = from + (offset(thread() % kAcross * kWide) + thread() / kAcross * kPanel);
    ZEROTH_UNROLL
    for (int i = 0; i < kEach; ++i) {
      const T* const vector = at + i * (kThreads / kAcross) * kPanel;
      if constexpr (kAsync) {
        __pipeline_memcpy_async(place(stage, i), vector, 16);
      } else {
        held[i] = load_eight(vector);
      }
    }
    from += kStep * kPanel;
  }
  ZEROTH_DEVICE void store(float* stage) const {
    if constexpr (!kAsync) {
      ZEROTH_UNROLL
      for (int i = 0; i < kEach; ++i) {
        float* const to = place(stage, i);
        const uint4 v = held[i];
        store_four(to, {float_of(v.x << 16), float_of(v.x & 0xffff0000u), float_of(v.y << 16),
                        float_of(v.y & 0xffff0000u)});
        store_four(to + 4, {float_of(v.z << 16), float_of(v.z & 0xffff0000u), float_of(v.w << 16),
                            float_of(v.w & 0xffff0000u)});
      }
    }
  }
  ZEROTH_DEVICE void rest(int rest, float* stage) {
    for (int e = thread_again(); e < kColumns * rest; e += kThreads) {
      stage[e / kColumns * (kColumns + kPad) + e % kColumns] =
          widen(from[offset(e % kColumns) + e / kColumns * kPanel]);
    }
    from += rest * kPanel;
  }
};

// Backward: k runs along `out`, columns along `in`; quads of a panel's columns are turned.
template <class T, int kThreads>
struct PanelRowsOperand {
  static constexpr int kAcross = kStep / 4, kEach = kColumns * kAcross / kThreads;
  static_assert(kColumns * kAcross % kThreads == 0 && kPanel == 2 * kStep);
  const T* from;
  int columns, next;  // columns that there are; elements to the next panel
  bool second;        // half of a panel
  float4 held[kEach];

  // k: a multiple of a stage.
  ZEROTH_DEVICE void begin(const void* w, int64_t in, int64_t first, int64_t size, int64_t k) {
    from = static_cast<const T*>(w) + (k / kPanel * in + first) * kPanel + k % kPanel;
    columns = static_cast<int>(size - first < kColumns ? size - first : kColumns);
    next = static_cast<int>(in) * kPanel - kStep;
    second = k % kPanel != 0;
  }
  ZEROTH_DEVICE const T* row(int column) const {
    return from + (column < columns ? column : columns - 1) * kPanel;
  }
  ZEROTH_DEVICE void load(float*) {
    ZEROTH_UNROLL
    for (int i = 0; i < kEach; ++i) {
      held[i] =
          four_of(row(thread() / kAcross + i * (kThreads / kAcross)) + thread() % kAcross * 4);
    }
    from += second ? next : kStep;
    second = !second;
  }
  ZEROTH_DEVICE void store(float* stage) const {
    float* const to = stage + thread() % kAcross * 4 * (kColumns + kPad) + thread() / kAcross;
    ZEROTH_UNROLL
    for (int i = 0; i < kEach; ++i) {
      store_turned<kColumns>(to + i * (kThreads / kAcross), held[i]);
    }
  }
  // Only at the end of k.
  ZEROTH_DEVICE void rest(int rest, float* stage) {
    for (int e = thread_again(); e < kColumns * rest; e += kThreads) {
      stage[e % rest * (kColumns + kPad) + e / rest] = widen(row(e / rest)[e % rest]);
    }
  }
};

// x [k, ld] as B.
template <int kThreads, bool kAligned>
using MatrixOperand = ColumnsOperand<kColumns, kThreads, kAligned>;

}  // namespace zeroth::kernels::cuda

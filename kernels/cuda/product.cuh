// The one matrix product of the device: a block has a tile of kRows x 128 outputs, a thread 8 x 8
// (or 2 x 8) of them in registers. An output is a sum of leaves (docs/numerics.md): its chain of
// one leaf runs in a register, and what the leaves before it gave waits in shared memory, in words
// that only its thread touches.
#pragma once

#include "kernels/cuda/product_stage.cuh"
#include "kernels/cuda/slots.cuh"

namespace zeroth::kernels::cuda {

inline constexpr int kLeaf = 256;   // values of k in a leaf
inline constexpr int kChunk = 256;  // rows that a weight's gradient adds up as one leaf

struct ProductArgs {
  const float* a = nullptr;
  int64_t lda = 0;
  const void* b = nullptr;  // or by groups
  const void* const* group_b = nullptr;
  int64_t ldb = 0;
  const float* bias = nullptr;
  float* c = nullptr;
  float* const* group_c = nullptr;
  int64_t ldc = 0;
  int64_t m = 0, n = 0, k = 0;
  RowBounds groups = {};  // of the rows of C, or (kByRows) of k; count 0: none
  RowBounds parts = {};   // of k, when leaves are chunks of rows
  bool accumulate = false;
  float* leaves = nullptr;  // [leaves][m][n]: each leaf by itself, of block z
};

// The tile of a number of rows.
template <int kRows>
struct Tile {
  static constexpr int kThreadRows = kRows == 16 ? 2 : 8;
  static constexpr int kThreads = kRows / kThreadRows * (kColumns / 8);
  static constexpr int kStageA = kStep * (kRows + kPad), kStageB = kStep * (kColumns + kPad);
  static constexpr int kTotals = kThreadRows * 8 / 4;  // vectors that a thread keeps
  // With more than one leaf there are totals, behind the two stages.
  static constexpr size_t shared_bytes(bool totals) {
    return (2 * size_t{kStageA + kStageB} + (totals ? size_t{kThreads} * kTotals * 4 : 0)) *
           sizeof(float);
  }
};

// A thread's outputs: rows row(i), columns column(j) of the tile. A warp has 64 x 32 of them (16 x
// 32 in the small tile).
template <int kRows>
struct Outputs {
  using T = Tile<kRows>;
  int warp_row, warp_column, y, x;
  ZEROTH_DEVICE explicit Outputs(int t) {
    const int warp = t / kWarp, lane = t % kWarp;
    warp_row = warp / 4 * 64;
    warp_column = warp % 4 * 32;
    y = lane / 4;
    x = lane % 4;
  }
  ZEROTH_DEVICE int row(int i) const {
    return T::kThreadRows == 2 ? y * 2 + i : warp_row + y * 4 + i / 4 * 32 + i % 4;
  }
  ZEROTH_DEVICE int column(int j) const { return warp_column + x * 4 + j / 4 * 16 + j % 4; }
};

template <int kRows>
using Accumulators = float[Tile<kRows>::kThreadRows][8];

// One value of k: the thread's rows of A by its columns of B.
template <int kRows>
ZEROTH_DEVICE void multiply(const float* stage_a, const float* stage_b, const Outputs<kRows>& at,
                            Accumulators<kRows>& acc) {
  using T = Tile<kRows>;
  float a[T::kThreadRows], b[8];
  if constexpr (T::kThreadRows == 2) {
    a[0] = stage_a[at.row(0)];
    a[1] = stage_a[at.row(1)];
  } else {
    const float4 low = load_four(stage_a + at.row(0)), high = load_four(stage_a + at.row(4));
    a[0] = low.x, a[1] = low.y, a[2] = low.z, a[3] = low.w;
    a[4] = high.x, a[5] = high.y, a[6] = high.z, a[7] = high.w;
  }
  const float4 low = load_four(stage_b + at.column(0)), high = load_four(stage_b + at.column(4));
  b[0] = low.x, b[1] = low.y, b[2] = low.z, b[3] = low.w;
  b[4] = high.x, b[5] = high.y, b[6] = high.z, b[7] = high.w;
  ZEROTH_UNROLL
  for (int i = 0; i < T::kThreadRows; ++i) {
    ZEROTH_UNROLL
    for (int j = 0; j < 8; ++j) acc[i][j] = fma(a[i], b[j], acc[i][j]);
  }
}

// acc = the chains of `depth` values of k, from where A and B stand; they move on.
template <int kRows, class A, class B>
ZEROTH_DEVICE void leaf(A& a, B& b, int depth, float* shared, const Outputs<kRows>& at,
                        Accumulators<kRows>& acc) {
  using T = Tile<kRows>;
  float* const stage_a = shared;
  float* const stage_b = shared + 2 * T::kStageA;
  ZEROTH_UNROLL
  for (int i = 0; i < T::kThreadRows; ++i) {
    ZEROTH_UNROLL
    for (int j = 0; j < 8; ++j) acc[i][j] = 0.0f;
  }
  const int stages = depth / kStep, rest = depth % kStep;
  if (stages > 0) {
    a.load(stage_a);
    b.load(stage_b);
    a.store(stage_a);
    b.store(stage_b);
  }
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  int now = 0;
  ZEROTH_UNROLL_ONCE
  for (int s = 0; s < stages; ++s) {
    const bool more = s + 1 < stages;
    float* const next_a = stage_a + (now ^ 1) * T::kStageA;
    float* const next_b = stage_b + (now ^ 1) * T::kStageB;
    if (more) {
      a.load(next_a);
      b.load(next_b);
    }
    __pipeline_commit();
    ZEROTH_UNROLL
    for (int k = 0; k < kStep; ++k) {
      multiply<kRows>(stage_a + now * T::kStageA + k * (kRows + kPad),
                      stage_b + now * T::kStageB + k * (kColumns + kPad), at, acc);
    }
    if (more) {
      a.store(next_a);
      b.store(next_b);
    }
    __pipeline_wait_prior(0);
    __syncthreads();
    now ^= 1;
  }
  if (rest == 0) return;
  // Absent values are skipped, not multiplied as zeros: a chain that stands at -0 keeps its sign.
  a.rest(rest, stage_a);
  b.rest(rest, stage_b);
  __syncthreads();
  ZEROTH_UNROLL_ONCE
  for (int i = 0; i < rest; ++i) {
    multiply<kRows>(stage_a + i * (kRows + kPad), stage_b + i * (kColumns + kPad), at, acc);
  }
  __syncthreads();
}

// Where a tile of C begins, and how much of it there is.
struct Corner {
  float* c;
  int64_t ldc;
  int rows, columns;
};
template <int kRows>
ZEROTH_DEVICE Corner corner_of(float* c, int64_t ldc, int64_t row, int64_t rows, int64_t columns) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns;
  const int64_t height = rows - row, width = columns - column;
  return {c + row * ldc + column, ldc, static_cast<int>(height < kRows ? height : kRows),
          static_cast<int>(width < kColumns ? width : kColumns)};
}

// The sum of the leaves before, kept and taken back by the same thread.
template <int kRows>
struct Totals {
  using T = Tile<kRows>;
  float* shared;
  // Of this thread; the vectors of a warp lie beside each other.
  ZEROTH_DEVICE float* mine() const {
    return shared + 2 * (T::kStageA + T::kStageB) + thread_again() * 4;
  }
  ZEROTH_DEVICE void keep(const Accumulators<kRows>& acc) const {
    float* const at = mine();
    ZEROTH_UNROLL
    for (int v = 0; v < T::kTotals; ++v) {
      const float* const from = &acc[v / 2][v % 2 * 4];
      store_four(at + v * T::kThreads * 4, {from[0], from[1], from[2], from[3]});
    }
  }
  ZEROTH_DEVICE void add_to(Accumulators<kRows>& acc) const {
    const float* const at = mine();
    ZEROTH_UNROLL
    for (int v = 0; v < T::kTotals; ++v) {
      float* const to = &acc[v / 2][v % 2 * 4];
      const float4 before = load_four(at + v * T::kThreads * 4);
      to[0] = add(before.x, to[0]);
      to[1] = add(before.y, to[1]);
      to[2] = add(before.z, to[2]);
      to[3] = add(before.w, to[3]);
    }
  }
};

template <int kRows>
ZEROTH_DEVICE void store_outputs(const Corner& to, const float* bias,
                                 const Accumulators<kRows>& acc) {
  const Outputs<kRows> at(thread_again());
  ZEROTH_UNROLL
  for (int i = 0; i < Tile<kRows>::kThreadRows; ++i) {
    if (at.row(i) >= to.rows) continue;
    ZEROTH_UNROLL
    for (int j = 0; j < 8; ++j) {
      const int column = at.column(j);
      if (column >= to.columns) continue;
      to.c[at.row(i) * to.ldc + column] = bias ? add(acc[i][j], bias[column]) : acc[i][j];
    }
  }
}

// What is in C comes first, when the product is added to it: as if it were a leaf.
template <int kRows>
ZEROTH_DEVICE void load_outputs(const Corner& from, Accumulators<kRows>& acc) {
  const Outputs<kRows> at(thread_again());
  ZEROTH_UNROLL
  for (int i = 0; i < Tile<kRows>::kThreadRows; ++i) {
    ZEROTH_UNROLL
    for (int j = 0; j < 8; ++j) {
      const bool there = at.row(i) < from.rows && at.column(j) < from.columns;
      acc[i][j] = there ? from.c[at.row(i) * from.ldc + at.column(j)] : 0.0f;
    }
  }
}

// C of rows (by groups) x 128 columns of block x; k in leaves of 256. Block y: a piece of rows.
// What the leaves do not need is worked out again behind them, from what all threads share.
template <int kRows, class A, class B>
__global__ void __launch_bounds__(Tile<kRows>::kThreads, 2) product_kernel(const ProductArgs p) {
  ZEROTH_SHARED(float, shared);
  const auto rows_of_block = [&] {
    if (p.groups.count > 0) return find_slot(p.groups, kRows, blockIdx.y);
    return Slot{0, static_cast<int64_t>(blockIdx.y) * kRows, p.m};
  };
  const auto corner = [&] {
    const Slot rows = rows_of_block();
    if (!p.leaves) return corner_of<kRows>(p.c, p.ldc, rows.begin, rows.end, p.n);
    return corner_of<kRows>(p.leaves + blockIdx.z * p.m * p.n, p.n, rows.begin, rows.end, p.n);
  };
  int left = static_cast<int>(p.k);  // values of k
  A a;
  B b;
  {
    const Slot rows = rows_of_block();
    if (rows.begin >= rows.end) return;
    const int64_t first = p.leaves ? static_cast<int64_t>(blockIdx.z) * kLeaf : 0;
    a.begin(p.a, p.lda, rows.begin, rows.end, first);
    b.begin(p.group_b ? p.group_b[rows.group] : p.b, p.ldb,
            static_cast<int64_t>(blockIdx.x) * kColumns, p.n, first);
    left -= static_cast<int>(first);
    if (p.leaves && left > kLeaf) left = kLeaf;
  }
  const Outputs<kRows> at(thread());
  const Totals<kRows> totals{shared};
  Accumulators<kRows> acc;
  if (p.accumulate) {
    load_outputs<kRows>(corner(), acc);
    totals.keep(acc);
  }
  ZEROTH_UNROLL_ONCE
  for (bool first = !p.accumulate;; first = false) {
    leaf<kRows>(a, b, left < kLeaf ? left : kLeaf, shared, at, acc);
    if (!first) totals.add_to(acc);
    left -= kLeaf;
    if (left <= 0) break;
    totals.keep(acc);
  }
  const bool with_bias = p.bias && !p.leaves;
  store_outputs<kRows>(corner(), with_bias ? p.bias + int64_t{blockIdx.x} * kColumns : nullptr,
                       acc);
}

// C += A^T B over rows of k by parts, each chunk a leaf. Block y: 128 rows of C; z: a group, whose
// rows of k are bounds'. One block a multiprocessor: with two, 128 registers a thread do not suffice.
template <int kRows, class A, class B>
__global__ void __launch_bounds__(Tile<kRows>::kThreads, 1) gradient_kernel(const ProductArgs p) {
  ZEROTH_SHARED(float, shared);
  const auto corner = [&] {
    return corner_of<kRows>(p.group_c ? p.group_c[blockIdx.z] : p.c, p.ldc,
                            static_cast<int64_t>(blockIdx.y) * kRows, p.m, p.n);
  };
  const auto bound = [&](int of) {  // of the group's rows of k: read again, not kept
    if (p.groups.count > 0) return static_cast<int>(p.groups.at[blockIdx.z + of]);
    return of == 0 ? 0 : static_cast<int>(p.k);
  };
  int k = bound(0);
  if (k >= bound(1)) return;
  A a;
  B b;
  a.begin(p.a, p.lda, static_cast<int64_t>(blockIdx.y) * kRows, p.m, k);
  b.begin(p.b, p.ldb, static_cast<int64_t>(blockIdx.x) * kColumns, p.n, k);
  const Outputs<kRows> at(thread());
  const Totals<kRows> totals{shared};
  Accumulators<kRows> acc;
  load_outputs<kRows>(corner(), acc);
  ZEROTH_UNROLL_ONCE
  while (k < bound(1)) {
    totals.keep(acc);
    const int rows = chunk_rows(p.parts, k, bound(1), kChunk);
    k += rows;
    leaf<kRows>(a, b, rows, shared, at, acc);
    totals.add_to(acc);
  }
  store_outputs<kRows>(corner(), nullptr, acc);
}

}  // namespace zeroth::kernels::cuda

#include "kernels/cuda/products.h"

#include "kernels/cuda/product.cuh"

namespace zeroth::kernels::cuda {
namespace {

// Blocks that fill a device of this size; fewer, and leaves are computed beside each other.
constexpr int64_t kManyBlocks = 2 * 132;

int64_t tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Rows of x that begin at multiples of 16 bytes are read by vectors.
bool aligned(const float* x, int64_t ld) {
  return reinterpret_cast<uintptr_t>(x) % 16 == 0 && ld % 4 == 0;
}

__global__ void __launch_bounds__(256)
    add_leaves_kernel(const float* leaves, int64_t count, const float* bias, float* y, int64_t ldy,
                      int64_t m, int64_t n, const RowBounds groups) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (i >= (groups.count > 0 ? groups.at[groups.count] : m) * n) return;
  float sum = leaves[i];
  for (int64_t leaf = 1; leaf < count; ++leaf) sum = add(sum, leaves[leaf * m * n + i]);
  y[i / n * ldy + i % n] = bias ? add(sum, bias[i % n]) : sum;
}

template <int kRows, class A, class B>
void start(Stream stream, const ProductArgs& p) {
  const int64_t pieces = p.groups.count > 0 ? slots_of(p.groups, kRows) : tiles(p.m, kRows);
  const int64_t leaves = tiles(p.k, kLeaf);
  launch(stream, product_kernel<kRows, A, B>, {tiles(p.n, kColumns), pieces, p.leaves ? leaves : 1},
         Tile<kRows>::kThreads,
         Tile<kRows>::shared_bytes(p.accumulate || (!p.leaves && leaves > 1)), p);
}

// The height of a tile for so many rows of one group.
template <template <class, int> class B, class T, bool kAligned>
void start_of_height(Stream stream, const ProductArgs& p, int64_t rows) {
  constexpr int kSmall = Tile<16>::kThreads, kMiddle = Tile<64>::kThreads,
                kLarge = Tile<128>::kThreads;
  if (rows <= 32) {
    start<16, RowsOperand<16, kSmall, kAligned>, B<T, kSmall>>(stream, p);
  } else if (rows <= 64 || !kAligned) {  // single values for 128 rows take too many registers
    start<64, RowsOperand<64, kMiddle, kAligned>, B<T, kMiddle>>(stream, p);
  } else {
    start<128, RowsOperand<128, kLarge, true>, B<T, kLarge>>(stream, p);
  }
}

template <template <class, int> class B>
void start_product(Stream stream, const ProductArgs& p, Element element) {
  const int64_t rows = p.groups.count > 0 ? tiles(p.groups.rows, p.groups.count) : p.m;
  const bool vectors = aligned(p.a, p.lda);
  if (element == Element::kFloat32) {
    vectors ? start_of_height<B, float, true>(stream, p, rows)
            : start_of_height<B, float, false>(stream, p, rows);
  } else {
    vectors ? start_of_height<B, Bfloat16, true>(stream, p, rows)
            : start_of_height<B, Bfloat16, false>(stream, p, rows);
  }
}

// Forward: where tiles are few and there is room, every leaf is a block of its own.
void forward(Stream stream, ProductArgs p, Element element, const Workspace& workspace) {
  const int64_t leaves = tiles(p.k, kLeaf), wanted = linear_workspace(p.m, p.n, p.k);
  const bool apart = wanted > 0 && workspace.floats >= wanted;
  if (apart) p.leaves = workspace.at;
  start_product<PanelOperand>(stream, p, element);
  if (!apart) return;
  launch(stream, add_leaves_kernel, {tiles(p.m * p.n, 256)}, 256, 0, workspace.at, leaves, p.bias,
         p.c, p.ldc, p.m, p.n, p.groups);
}

__global__ void __launch_bounds__(128)
    bias_gradient_kernel(const float* dy, int64_t lddy, float* dbias, int64_t out,
                         const RowBounds parts) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x;
  if (column >= out) return;
  float total = dbias[column];
  const float* from = dy + column;
  for (int at = 0, end = static_cast<int>(parts.rows); at < end;) {
    const int rows = chunk_rows(parts, at, end, kChunk);
    float sum = 0.0f;
    for (int i = 0; i < rows; ++i, from += lddy) sum = add(sum, *from);
    total = add(total, sum);
    at += rows;
  }
  dbias[column] = total;
}

template <int kRows, bool kAligned>
void start_gradient(Stream stream, const ProductArgs& p, int64_t groups) {
  constexpr int kThreads = Tile<kRows>::kThreads;
  using A = ColumnsOperand<kRows, kThreads, kAligned>;
  using B = MatrixOperand<kThreads, kAligned>;
  launch(stream, gradient_kernel<kRows, A, B>, {tiles(p.n, kColumns), tiles(p.m, kRows), groups},
         kThreads, Tile<kRows>::shared_bytes(true), p);
}

void gradient(Stream stream, const ProductArgs& p, int64_t groups) {
  const bool vectors = aligned(p.a, p.lda) && aligned(static_cast<const float*>(p.b), p.ldb) &&
                       p.m % 4 == 0 && p.n % 4 == 0;
  if (p.m <= 64) {
    vectors ? start_gradient<64, true>(stream, p, groups)
            : start_gradient<64, false>(stream, p, groups);
  } else {
    vectors ? start_gradient<128, true>(stream, p, groups)
            : start_gradient<128, false>(stream, p, groups);
  }
}

}  // namespace

int64_t linear_workspace(int64_t m, int64_t out, int64_t in) {
  const int64_t leaves = tiles(in, kLeaf), blocks = tiles(m, 16) * tiles(out, kColumns);
  return leaves > 1 && blocks < kManyBlocks ? leaves * m * out : 0;
}

void linear(Stream stream, const float* x, int64_t ldx, const Weights& w, const float* bias,
            float* y, int64_t ldy, int64_t m, const Workspace& workspace) {
  ProductArgs p;
  p.a = x, p.lda = ldx;
  p.b = w.panels, p.ldb = w.in;
  p.bias = bias;
  p.c = y, p.ldc = ldy;
  p.m = m, p.n = w.out, p.k = w.in;
  forward(stream, p, w.element, workspace);
}

void grouped_linear(Stream stream, const float* x, int64_t ldx, const RowBounds& groups,
                    const GroupedWeights& w, float* y, int64_t ldy, const Workspace& workspace) {
  ProductArgs p;
  p.a = x, p.lda = ldx;
  p.group_b = w.panels, p.ldb = w.in;
  p.c = y, p.ldc = ldy;
  p.m = groups.rows, p.n = w.out, p.k = w.in;
  p.groups = groups;
  forward(stream, p, w.element, workspace);
}

void linear_backward_input(Stream stream, const float* dy, int64_t lddy, const Weights& w,
                           float* dx, int64_t lddx, int64_t m, bool accumulate) {
  ProductArgs p;
  p.a = dy, p.lda = lddy;
  p.b = w.panels, p.ldb = w.in;
  p.c = dx, p.ldc = lddx;
  p.m = m, p.n = w.in, p.k = w.out;
  p.accumulate = accumulate;
  start_product<PanelRowsOperand>(stream, p, w.element);
}

void grouped_backward_input(Stream stream, const float* dy, int64_t lddy, const RowBounds& groups,
                            const GroupedWeights& w, float* dx, int64_t lddx) {
  ProductArgs p;
  p.a = dy, p.lda = lddy;
  p.group_b = w.panels, p.ldb = w.in;
  p.c = dx, p.ldc = lddx;
  p.m = groups.rows, p.n = w.in, p.k = w.out;
  p.groups = groups;
  start_product<PanelRowsOperand>(stream, p, w.element);
}

void add_column_sums(Stream stream, const float* x, int64_t ldx, float* sums, int64_t width,
                     const RowBounds& parts) {
  launch(stream, bias_gradient_kernel, {tiles(width, 128)}, 128, 0, x, ldx, sums, width, parts);
}

void linear_backward_weight(Stream stream, const float* dy, int64_t lddy, const float* x,
                            int64_t ldx, float* dw, int64_t lddw, float* dbias, int64_t out,
                            int64_t in, const RowBounds& parts) {
  ProductArgs p;
  p.a = dy, p.lda = lddy;
  p.b = x, p.ldb = ldx;
  p.c = dw, p.ldc = lddw;
  p.m = out, p.n = in, p.k = parts.rows;
  p.parts = parts;
  gradient(stream, p, 1);
  if (!dbias) return;
  add_column_sums(stream, dy, lddy, dbias, out, parts);
}

void grouped_backward_weight(Stream stream, const float* dy, int64_t lddy, const float* x,
                             int64_t ldx, const RowBounds& groups, const RowBounds& parts,
                             float* const* dw, int64_t out, int64_t in) {
  ProductArgs p;
  p.a = dy, p.lda = lddy;
  p.b = x, p.ldb = ldx;
  p.group_c = dw, p.ldc = in;
  p.m = out, p.n = in, p.k = groups.rows;
  p.groups = groups;
  p.parts = parts;
  gradient(stream, p, groups.count);
}

}  // namespace zeroth::kernels::cuda

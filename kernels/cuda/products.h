// Matrix products on a device: what kernels/matmul.h does, in its order of sums. All pointers are
// the device's; matrices are row-major with rows `ld` floats apart. Calls start kernels on a stream
// and return; they read sizes of groups on the device only.
#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/element.h"

namespace zeroth::kernels::cuda {

// A weight matrix W [out, in] in the CPU's panels: panel p holds rows 32 p .. 32 p + 31 of W as
// [in][32], zero padded (kernels/packed_matrix.h). At a multiple of 16 bytes.
struct Weights {
  const void* panels = nullptr;
  int64_t out = 0, in = 0;
  Element element = Element::kFloat32;
};
// The experts' matrices, all of one shape: panels[g] of group g, an array of the device.
struct GroupedWeights {
  const void* const* panels = nullptr;
  int64_t groups = 0, out = 0, in = 0;
  Element element = Element::kFloat32;
};
// Rows bounds[i] .. bounds[i + 1] - 1 are group or part i; bounds [count + 1] ascending. At most
// `rows` rows in all, which is what the host knows of them.
struct RowBounds {
  const int64_t* at = nullptr;
  int64_t count = 0;
  int64_t rows = 0;
};
// Where leaves may be kept that are computed beside each other: products of few rows take
// leaves * rows * out floats of it when they fit. Nothing that is read depends on what it holds.
struct Workspace {
  float* at = nullptr;
  int64_t floats = 0;
};

// Floats of it that linear() can use for m rows, and grouped_linear() for as many in all.
int64_t linear_workspace(int64_t m, int64_t out, int64_t in);

// y [m, out] = x [m, in] W^T (+ bias [out]).
void linear(Stream stream, const float* x, int64_t ldx, const Weights& w, const float* bias,
            float* y, int64_t ldy, int64_t m, const Workspace& workspace = {});
// The rows of group g go through W_g. bounds.at[0] is 0.
void grouped_linear(Stream stream, const float* x, int64_t ldx, const RowBounds& groups,
                    const GroupedWeights& w, float* y, int64_t ldy,
                    const Workspace& workspace = {});
// dx [m, in] = (accumulate ? dx : 0) + dy [m, out] W.
void linear_backward_input(Stream stream, const float* dy, int64_t lddy, const Weights& w,
                           float* dx, int64_t lddx, int64_t m, bool accumulate);
void grouped_backward_input(Stream stream, const float* dy, int64_t lddy, const RowBounds& groups,
                            const GroupedWeights& w, float* dx, int64_t lddx);
// dw [out, in] += dy^T x, chunks of at most 256 rows of one part after the other; dbias [out] +=
// column sums of dy when not null. `parts` covers [0, m).
void linear_backward_weight(Stream stream, const float* dy, int64_t lddy, const float* x,
                            int64_t ldx, float* dw, int64_t lddw, float* dbias, int64_t out,
                            int64_t in, const RowBounds& parts);
// sums [width] += column sums of x, chunk by chunk as above.
void add_column_sums(Stream stream, const float* x, int64_t ldx, float* sums, int64_t width,
                     const RowBounds& parts);
// dw[g] [out, in]: an array of the device of one pointer a group.
void grouped_backward_weight(Stream stream, const float* dy, int64_t lddy, const float* x,
                             int64_t ldx, const RowBounds& groups, const RowBounds& parts,
                             float* const* dw, int64_t out, int64_t in);

}  // namespace zeroth::kernels::cuda

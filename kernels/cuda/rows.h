// Operators on rows on a device: what kernels/rows.h and kernels/optimizer.h do, in their order of
// sums. All pointers are the device's. Calls start kernels on a stream and return.
#pragma once

#include <cstdint>

#include "kernels/cpu/table.h"
#include "kernels/cuda/products.h"
#include "kernels/gate.h"

namespace zeroth::kernels::cuda {

// Each of `heads` parts of `width` of a row is normalised by itself; inv_rms [heads, ldinv].
void rms_norm(Stream stream, const float* x, int64_t ldx, const float* weight, float eps, float* y,
              int64_t ldy, float* inv_rms, int64_t m, int64_t width, int64_t heads, int64_t ldinv,
              bool plus_one = false);
// partial: rms_norm_partial() floats. dx =, or += when accumulate; dweight +=.
int64_t rms_norm_partial(int64_t width, int64_t heads, const RowBounds& parts);
void rms_norm_backward(Stream stream, const float* dy, int64_t lddy, const float* x, int64_t ldx,
                       const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                       float* dweight, int64_t m, int64_t width, bool accumulate, int64_t heads,
                       const RowBounds& parts, float* partial, bool plus_one = false);
void add(Stream stream, const float* a, const float* b, float* y, int64_t n);
void swiglu(Stream stream, const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m,
            int64_t width, const Gate& gate = {});
// kernels/rows.h's swiglu_backward; act, order, weights and dweights may be null.
struct SwigluGradient {
  const float* dy = nullptr;
  int64_t lddy = 0;
  const float* gu = nullptr;
  int64_t ldgu = 0;
  float* dgu = nullptr;
  int64_t lddgu = 0;
  float* act = nullptr;
  const int32_t* order = nullptr;
  const float* weights = nullptr;
  float* dweights = nullptr;
  int64_t m = 0, width = 0;
  Gate gate = {};
};
void swiglu_backward(Stream stream, const SwigluGradient& rows);
void rope(Stream stream, float* x, int64_t ldx, int64_t head_stride, const int32_t* positions,
          const float* cos, const float* sin, int64_t m, int heads, int dim, bool interleaved,
          bool inverse);

// out [m, width] = rows `ids` of a table of floats, of bfloat16 or packed.
void embedding(Stream stream, const float* table, int64_t width, const int32_t* ids, float* out,
               int64_t m);
void embedding(Stream stream, const Bfloat16* table, int64_t width, const int32_t* ids, float* out,
               int64_t m);
void embedding(Stream stream, const Weights& table, const int32_t* ids, float* out, int64_t m);
// dtable[ids] += dy in ascending row order.
void embedding_backward(Stream stream, const float* dy, const int32_t* ids, float* dtable,
                        int64_t m, int64_t width);

// --- numbers and published weights
void widen(Stream stream, const Bfloat16* x, float* y, int64_t n);
void narrow(Stream stream, const float* x, Bfloat16* y, int64_t n);
// Rows [first, first + rows) of W from `from` [rows, ld] of the device; first is a multiple of 32,
// and so is `rows` but for the last part. And back, widened: to [rows, in].
void pack_rows(Stream stream, const Weights& w, void* panels, int64_t first, int64_t rows,
               const float* from, int64_t ld);
void unpack_rows(Stream stream, const Weights& w, int64_t first, int64_t rows, float* to);

// --- optimizer
void adamw(Stream stream, float* w, const float* grad, float* m, float* v, int64_t n,
           const AdamWConstants& constants);
// *sum = the sum of squares in double; partial: (n + 65,535) / 65,536 doubles.
void sum_squares(Stream stream, const float* x, int64_t n, double* partial, double* sum);

}  // namespace zeroth::kernels::cuda

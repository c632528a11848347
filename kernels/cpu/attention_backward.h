// Backward of attention: a tile of query vectors against the pages they saw, one after the other.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// out [columns, rows] = in [rows, columns]^T.
inline void transpose(const float* in, int64_t ld_in, int rows, int columns, float* out,
                      int64_t ld_out) {
  for (int c = 0; c < columns; ++c)
    for (int r = 0; r < rows; ++r) out[c * ld_out + r] = in[r * ld_in + c];
}

// C [m, columns] (+)= A B where B rows are `ldb` apart and columns contiguous, padded to the next
// vector. A is stored as [m, lda], by columns as [k, lda].
template <bool kByColumns = false>
ZEROTH_INLINE void product(const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
                           int64_t ldc, int64_t m, int64_t k, int64_t columns,
                           Accumulate accumulate) {
  for (int64_t column = 0; column < columns; column += kPanelColumns) {
    gemm_panel<kByColumns, float>(
        {.a = a,
         .lda = lda,
         .b = b + column,
         .b_k = ldb,
         .b_panel = 0,
         .c = c + column,
         .ldc = ldc,
         .k = k,
         .leaf = k > 0 ? k : 1,
         .columns = columns - column < kPanelColumns ? columns - column : kPanelColumns,
         .bias = nullptr,
         .accumulate = accumulate},
        m, {}, {});
  }
}

ZEROTH_INLINE int round_up(int n) { return (n + kLanes - 1) / kLanes * kLanes; }

inline void attention_backward(const AttentionBackwardTile& t) {
  const int rows = t.vectors;
  const int64_t kd = round_up(t.k_dim), vd = round_up(t.v_dim);
  float* q = t.scratch;                   // [rows][kd]
  float* dq = q + rows * kd;              // [rows][kd]
  float* dout = dq + rows * kd;           // [rows][vd]
  float* p = dout + rows * vd;            // [rows][16]
  float* ds = p + int64_t{rows} * kPage;  // [rows][16]
  float inner[kBackwardVectors];          // <dout, out>
  int begin = t.first[0], end = t.last[0];
  for (int r = 0; r < rows; ++r) {
    begin = least(begin, t.first[r]);
    end = most(end, t.last[r]);
    for (int d = 0; d < kd; ++d) {
      q[r * kd + d] = d < t.k_dim ? t.q[r][d] : 0.0f;
      dq[r * kd + d] = 0.0f;
    }
    Vec sum = splat(0.0f);
    for (int d = 0; d < vd; d += kLanes) {
      const int n = least(kLanes, t.v_dim - d);
      const Vec g = load_first(t.dout[r] + d, n);
      sum = fma(g, load_first(t.out[r] + d, n), sum);
      store(dout + r * vd + d, g);
    }
    inner[r] = sum_lanes(sum);
  }
  const Vec zero = splat(0.0f), scale = splat(t.scale);
  for (int page = begin / kPage; page <= end / kPage; ++page) {
    const int64_t id = t.pages[page], local = t.local[page];
    float* dk = t.dk + id * t.k_page;
    float* dv = t.dv + id * t.v_page;
    product(q, kd, t.k + id * t.k_page, kPage, p, kPage, rows, t.k_dim, kPage, Accumulate::kStart);
    product(dout, vd, t.v_columns + local * t.v_dim * kPage, kPage, ds, kPage, rows, t.v_dim, kPage,
            Accumulate::kStart);
    const int position = page * kPage;
    for (int r = 0; r < rows; ++r) {
      const int lo = least(kPage, most(0, t.first[r] - position));
      const int hi = most(lo, least(kPage, t.last[r] + 1 - position));
      const Mask seen = between(lo, hi);
      const Vec e = exp(sub(mul(load(p + r * kPage), scale), splat(t.lse[r])));
      const Vec weight = select(seen, e, zero);
      const Vec d = mul(mul(weight, sub(load(ds + r * kPage), splat(inner[r]))), scale);
      store(p + r * kPage, weight);
      store(ds + r * kPage, select(seen, d, zero));
    }
    product<true>(p, kPage, dout, vd, dv, t.v_dim, kPage, rows, t.v_dim, Accumulate::kContinue);
    product<true>(q, kd, ds, kPage, dk, kPage, t.k_dim, rows, kPage, Accumulate::kContinue);
    product(ds, kPage, t.k_rows + local * kPage * kd, kd, dq, kd, rows, kPage, t.k_dim,
            Accumulate::kContinue);
  }
  for (int r = 0; r < rows; ++r)
    for (int d = 0; d < t.k_dim; ++d) t.dq[r][d] = dq[r * kd + d];
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

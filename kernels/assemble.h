// Operators that take rows apart and put them together, clear and clip them. What all operators
// promise: kernels/ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "kernels/moe.h"

namespace zeroth::kernels {

// Rows of x [m, width] become zeros.
void zero_rows(float* x, int64_t ldx, int64_t m, int64_t width);
// Pages of one layer's cache become zeros, or a copy of another one.
void zero_pages(const KvPages& cache, std::span<const int32_t> pages);
void copy_page(const KvPages& cache, int32_t from, int32_t to);

// y = x.
void copy(const float* x, float* y, int64_t n);
// ids[i] = i * step.
void count_up(int32_t* ids, int64_t m, int32_t step);

// Values of x [m, width] beyond -bound and bound become these.
void clamp_rows(float* x, int64_t ldx, int64_t m, int64_t width, float bound);
// dx becomes 0 where `clamped` was clipped: such values pass no gradient.
void clamp_rows_backward(const float* clamped, int64_t ldx, float* dx, int64_t lddx, int64_t m,
                         int64_t width, float bound);

// Values of x [m, width] are multiplied by `factor`.
void scale_rows(float* x, int64_t ldx, int64_t m, int64_t width, float factor);

// out[i] = x[rows[i]], rows of `width`.
void take_rows(const float* x, int64_t ldx, std::span<const int32_t> rows, float* out,
               int64_t ldout, int64_t width);
// x[rows[i]] += y[i]; no row twice.
void add_to_rows(const float* y, int64_t ldy, std::span<const int32_t> rows, float* x, int64_t ldx,
                 int64_t width);

// Heads of multi-head latent attention (DeepSeek-V2, section 2.1): kv [m, heads, nope | v] and one
// rotated part of `rope` a row, ldr apart, become k [m, heads, nope | rope] and v [m, heads, v].
struct LatentHeads {
  int64_t heads = 0, nope = 0, rope = 0, v = 0;
};
void expand_latent(const LatentHeads& w, const float* kv, const float* rope_part, int64_t ldr,
                   float* k, float* v, int64_t m);
// Its transpose: dkv (=), drope (=) summed over heads in ascending order.
void collapse_latent(const LatentHeads& w, const float* dk, const float* dv, float* dkv,
                     float* drope, int64_t ldr, int64_t m);

// Attention over two disjoint sets of keys from that over each: out [.., heads * dim] and lse [..,
// heads] of the rows `rows` take in part_out and part_lse [n, ..], by the shares exp(lse of the
// part - lse of both) in binary64.
void merge_attention(const float* part_out, const float* part_lse, std::span<const int32_t> rows,
                     int64_t heads, int64_t dim, float* out, float* lse);

// Attention sinks (gpt-oss; after Xiao et al., "Efficient Streaming Language Models with Attention
// Sinks", 2024): one more logit sinks[h] in the softmax of head h, with a value of zero. out [m,
// heads * dim] and lse [m, heads] are those without it before, those with it behind.
void add_sinks(const float* sinks, float* out, int64_t ldout, float* lse, int64_t m, int64_t heads,
               int64_t dim);
// dsinks [heads] +=, by what add_sinks left and the gradient of that out. attention_backward takes
// the same out and lse.
void add_sinks_backward(const float* sinks, const float* out, int64_t ldout, const float* lse,
                        const float* dout, int64_t lddout, float* dsinks, int64_t m, int64_t heads,
                        int64_t dim, RowParts parts = {});

// dlogits [m, E] += gradient of sum_e aux[e] * share_e, where the share of an expert is its softmax
// probability, or its sigmoid score over the sum of all.
void balance_backward(const RouterConfig& router, const float* scores, const float* aux,
                      float* dlogits, int64_t m);

}  // namespace zeroth::kernels

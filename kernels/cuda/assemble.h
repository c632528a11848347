// Operators that take rows apart and put them together, and the paged cache, on a device: what
// kernels/assemble.h and kernels/attention.h do. All pointers are the device's. Calls start kernels
// on a stream and return.
#pragma once

#include <cstdint>

#include "kernels/assemble.h"
#include "kernels/attention.h"
#include "kernels/cuda/products.h"

namespace zeroth::kernels::cuda {

void zero_rows(Stream stream, float* x, int64_t ldx, int64_t m, int64_t width);
void zero_pages(Stream stream, const KvPages& cache, const int32_t* pages, int64_t count);
void copy_page(Stream stream, const KvPages& cache, int32_t from, int32_t to);
void copy(Stream stream, const float* x, float* y, int64_t n);
void count_up(Stream stream, int32_t* ids, int64_t m, int32_t step);
void clamp_rows(Stream stream, float* x, int64_t ldx, int64_t m, int64_t width, float bound);
void clamp_rows_backward(Stream stream, const float* clamped, int64_t ldx, float* dx, int64_t lddx,
                         int64_t m, int64_t width, float bound);
void scale_rows(Stream stream, float* x, int64_t ldx, int64_t m, int64_t width, float factor);
void take_rows(Stream stream, const float* x, int64_t ldx, const int32_t* rows, int64_t count,
               float* out, int64_t ldout, int64_t width);
void add_to_rows(Stream stream, const float* y, int64_t ldy, const int32_t* rows, int64_t count,
                 float* x, int64_t ldx, int64_t width);
void expand_latent(Stream stream, const LatentHeads& w, const float* kv, const float* rope_part,
                   int64_t ldr, float* k, float* v, int64_t m);
void collapse_latent(Stream stream, const LatentHeads& w, const float* dk, const float* dv,
                     float* dkv, float* drope, int64_t ldr, int64_t m);
void merge_attention(Stream stream, const float* part_out, const float* part_lse,
                     const int32_t* rows, int64_t count, int64_t heads, int64_t dim, float* out,
                     float* lse);
void add_sinks(Stream stream, const float* sinks, float* out, int64_t ldout, float* lse, int64_t m,
               int64_t heads, int64_t dim);
// partial: m * heads floats.
void add_sinks_backward(Stream stream, const float* sinks, const float* out, int64_t ldout,
                        const float* lse, const float* dout, int64_t lddout, float* dsinks,
                        int64_t heads, int64_t dim, const RowBounds& parts, float* partial);

void kv_write(Stream stream, const KvPages& cache, const KvWrite* writes, int64_t count,
              const float* k, int64_t ldk, const float* v, int64_t ldv);
void kv_write_backward(Stream stream, const KvPages& dcache, const KvWrite* writes, int64_t count,
                       float* dk, int64_t lddk, float* dv, int64_t lddv);

}  // namespace zeroth::kernels::cuda

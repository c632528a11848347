#include "kernels/cuda/assemble.h"

#include "kernels/cuda/elements.cuh"
#include "kernels/stretch.h"

namespace zeroth::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    zero_rows_kernel(float* x, int64_t ldx, int64_t m, int64_t width) {
  const int64_t i = element();
  if (i < m * width) x[i / width * ldx + i % width] = 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    zero_pages_kernel(float* cache, int64_t page, const int32_t* pages, int64_t count) {
  const int64_t i = element();
  if (i < count * page) cache[pages[i / page] * page + i % page] = 0.0f;
}

__global__ void __launch_bounds__(kThreads) copy_kernel(const float* from, float* to, int64_t n) {
  const int64_t i = element();
  if (i < n) to[i] = from[i];
}

__global__ void __launch_bounds__(kThreads) count_up_kernel(int32_t* ids, int64_t m, int32_t step) {
  const int64_t i = element();
  if (i < m) ids[i] = static_cast<int32_t>(i) * step;
}

__global__ void __launch_bounds__(kThreads)
    clamp_rows_kernel(float* x, int64_t ldx, int64_t m, int64_t width, float bound) {
  const int64_t i = element();
  if (i >= m * width) return;
  float* const at = x + i / width * ldx + i % width;
  const float v = *at;
  *at = v < -bound ? -bound : bound < v ? bound : v;  // NaN stays
}

__global__ void __launch_bounds__(kThreads)
    clamp_rows_backward_kernel(const float* clamped, int64_t ldx, float* dx, int64_t lddx,
                               int64_t m, int64_t width, float bound) {
  const int64_t i = element();
  if (i >= m * width) return;
  const float v = clamped[i / width * ldx + i % width];
  if (v <= -bound || v >= bound) dx[i / width * lddx + i % width] = 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    scale_rows_kernel(float* x, int64_t ldx, int64_t m, int64_t width, float factor) {
  const int64_t i = element();
  if (i >= m * width) return;
  float* const at = x + i / width * ldx + i % width;
  *at = mul(*at, factor);
}

__global__ void __launch_bounds__(kThreads)
    take_rows_kernel(const float* x, int64_t ldx, const int32_t* rows, int64_t count, float* out,
                     int64_t ldout, int64_t width) {
  const int64_t i = element();
  if (i >= count * width) return;
  out[i / width * ldout + i % width] = x[rows[i / width] * ldx + i % width];
}

__global__ void __launch_bounds__(kThreads)
    add_to_rows_kernel(const float* y, int64_t ldy, const int32_t* rows, int64_t count, float* x,
                       int64_t ldx, int64_t width) {
  const int64_t i = element();
  if (i >= count * width) return;
  float* const to = x + rows[i / width] * ldx + i % width;
  *to = add(*to, y[i / width * ldy + i % width]);
}

// An element of a row's kv, or of its keys' rotated parts, one a head.
__global__ void __launch_bounds__(kThreads)
    expand_latent_kernel(const LatentHeads w, const float* kv, const float* rope_part, int64_t ldr,
                         float* k, float* v, int64_t m) {
  const int64_t width = w.nope + w.v + w.rope, i = element();
  if (i >= m * w.heads * width) return;
  const int64_t head = i / width, e = i % width;  // head: of all rows
  if (e < w.nope) {
    k[head * (w.nope + w.rope) + e] = kv[head * (w.nope + w.v) + e];
  } else if (e < w.nope + w.v) {
    v[head * w.v + e - w.nope] = kv[head * (w.nope + w.v) + e];
  } else {
    const int64_t part = e - w.nope - w.v;
    k[head * (w.nope + w.rope) + w.nope + part] = rope_part[head / w.heads * ldr + part];
  }
}

// An element of dkv, or (behind them) of drope, which is summed over heads in order.
__global__ void __launch_bounds__(kThreads)
    collapse_latent_kernel(const LatentHeads w, const float* dk, const float* dv, float* dkv,
                           float* drope, int64_t ldr, int64_t m) {
  const int64_t own = w.nope + w.v, key = w.nope + w.rope, heads = m * w.heads * own;
  const int64_t i = element();
  if (i < heads) {
    const int64_t head = i / own, e = i % own;
    dkv[i] = e < w.nope ? dk[head * key + e] : dv[head * w.v + e - w.nope];
  } else if (i - heads < m * w.rope) {
    const int64_t row = (i - heads) / w.rope, e = (i - heads) % w.rope;
    float sum = 0.0f;
    for (int64_t h = 0; h < w.heads; ++h) {
      sum = add(sum, dk[(row * w.heads + h) * key + w.nope + e]);
    }
    drope[row * ldr + e] = sum;
  }
}

// exp and log in binary64: kernels/assemble.cc says how.
ZEROTH_DEVICE double exp_of(double x) {  // x <= 0
  if (x < -700) return 0;
  constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  const double n = to_integer(div(x, kLn2High + kLn2Low));
  const double r = sub(sub(x, mul(n, kLn2High)), mul(n, kLn2Low));
  double sum = 1;
  for (int k = 13; k >= 1; --k) sum = add(1.0, mul(sum, div(r, static_cast<double>(k))));
  // 2^n is a normal number, and so is the product: this is exact.
  return mul(sum, double_of((static_cast<int64_t>(n) + 1023) << 52));
}
ZEROTH_DEVICE double log_of(double x) {  // 1 <= x <= 3
  const double t = div(sub(x, 1.0), add(x, 1.0)), t2 = mul(t, t);
  double sum = 0;
  for (int k = 57; k >= 1; k -= 2) sum = add(mul(sum, t2), div(1.0, static_cast<double>(k)));
  return mul(mul(2.0, t), sum);
}

// A block has a head of a row.
__global__ void __launch_bounds__(64)
    merge_attention_kernel(const float* part_out, const float* part_lse, const int32_t* rows,
                           int64_t heads, int64_t dim, float* out, float* lse) {
  const int64_t i = blockIdx.x, row = rows[i / heads], head = i % heads;
  float* const total = lse + row * heads + head;
  const double a = *total, b = part_lse[i], largest = a < b ? b : a;
  const double common = add(largest, log_of(add(exp_of(sub(a, largest)), exp_of(sub(b, largest)))));
  const auto keep = static_cast<float>(exp_of(sub(a, common)));
  const auto take = static_cast<float>(exp_of(sub(b, common)));
  float* const y = out + (row * heads + head) * dim;
  const float* const x = part_out + i * dim;
  for (int64_t j = threadIdx.x; j < dim; j += 64) y[j] = add(mul(keep, y[j]), mul(take, x[j]));
  __syncthreads();  // all have read the sum
  if (threadIdx.x == 0) *total = static_cast<float>(common);
}

// A block has a head of a row.
__global__ void __launch_bounds__(64)
    add_sinks_kernel(const float* sinks, float* out, int64_t ldout, float* lse, int64_t heads,
                     int64_t dim) {
  const int64_t row = blockIdx.x / heads, head = blockIdx.x % heads;
  float* const total = lse + row * heads + head;
  const float own = *total, sink = sinks[head], share = sigmoid(sub(own, sink));
  float* const y = out + row * ldout + head * dim;
  for (int64_t j = threadIdx.x; j < dim; j += 64) y[j] = mul(y[j], share);
  __syncthreads();  // all have read the sum
  const float top = larger(own, sink), low = smaller(own, sink);
  if (threadIdx.x == 0) *total = add(top, log(add(1.0f, exp(sub(low, top)))));
}

// A warp has a head of a row: partial [m, heads] = -(share of the sink) <dout, out>.
__global__ void __launch_bounds__(kWarp)
    sink_gradients_kernel(const float* sinks, const float* out, int64_t ldout, const float* lse,
                          const float* dout, int64_t lddout, float* partial, int64_t heads,
                          int64_t dim) {
  const int64_t row = blockIdx.x / heads, head = blockIdx.x % heads;
  const float inner =
      warp_dot(dout + row * lddout + head * dim, out + row * ldout + head * dim, dim);
  if (threadIdx.x != 0) return;
  const float share = exp(sub(sinks[head], lse[row * heads + head]));
  partial[row * heads + head] = sub(0.0f, mul(share, inner));
}

// Where component d of a token's keys, or of its values, lies in its page.
ZEROTH_DEVICE int64_t key_at(const KvPages& cache, int64_t slot, int64_t d) {
  const int64_t page = int64_t{cache.kv_heads} * cache.k_dim * kPageTokens;
  return slot / kPageTokens * page + d * kPageTokens + slot % kPageTokens;
}
ZEROTH_DEVICE int64_t value_at(const KvPages& cache, int64_t slot, int64_t d) {
  const int64_t page = int64_t{cache.kv_heads} * cache.v_dim * kPageTokens;
  const int64_t head = d / cache.v_dim;
  return slot / kPageTokens * page + (head * kPageTokens + slot % kPageTokens) * cache.v_dim +
         d % cache.v_dim;
}

__global__ void __launch_bounds__(kThreads)
    kv_write_kernel(const KvPages cache, const KvWrite* writes, int64_t count, const float* k,
                    int64_t ldk, const float* v, int64_t ldv) {
  const int64_t keys = int64_t{cache.kv_heads} * cache.k_dim;
  const int64_t values = cache.values_in_keys ? 0 : int64_t{cache.kv_heads} * cache.v_dim;
  const int64_t width = keys + values, i = element();
  if (i >= count * width) return;
  const KvWrite w = writes[i / width];
  const int64_t d = i % width;
  if (w.slot == kNoSlot) return;
  if (d < keys) {
    cache.k[key_at(cache, w.slot, d)] = k[w.row * ldk + d];
  } else {
    cache.v[value_at(cache, w.slot, d - keys)] = v[w.row * ldv + d - keys];
  }
}

// A block has a write. That of a row's first one adds all of the row in order.
__global__ void __launch_bounds__(128)
    kv_write_backward_kernel(const KvPages dcache, const KvWrite* writes, int64_t count, float* dk,
                             int64_t lddk, float* dv, int64_t lddv) {
  const int64_t first = blockIdx.x, row = writes[first].row;
  const int64_t keys = int64_t{dcache.kv_heads} * dcache.k_dim;
  const int64_t width = keys + int64_t{dcache.kv_heads} * dcache.v_dim;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t base = 0; base < first; base += kWarp) {
    const bool equal = base + lane < first && writes[base + lane].row == row;
    if (__ballot_sync(kAllLanes, equal) != 0) return;  // whole blocks: all warps see the same
  }
  for (int64_t base = first; base < count; base += kWarp) {
    const bool own = base + lane < count && writes[base + lane].row == row;
    for (uint32_t found = __ballot_sync(kAllLanes, own); found != 0; found &= found - 1) {
      const int64_t slot = writes[base + __ffs(found) - 1].slot;
      for (int64_t d = threadIdx.x; d < width; d += 128) {
        float* const to = d < keys ? dk + row * lddk + d : dv + row * lddv + d - keys;
        *to = add(*to, d < keys ? dcache.k[key_at(dcache, slot, d)]
                                : dcache.v[value_at(dcache, slot, d - keys)]);
      }
    }
  }
}

}  // namespace

void zero_rows(Stream stream, float* x, int64_t ldx, int64_t m, int64_t width) {
  launch(stream, zero_rows_kernel, blocks(m * width), kThreads, 0, x, ldx, m, width);
}

void zero_pages(Stream stream, const KvPages& cache, const int32_t* pages, int64_t count) {
  launch(stream, zero_pages_kernel, blocks(count * cache.k_page()), kThreads, 0, cache.k,
         cache.k_page(), pages, count);
  launch(stream, zero_pages_kernel, blocks(count * cache.v_page()), kThreads, 0, cache.v,
         cache.v_page(), pages, count);
}

void copy_page(Stream stream, const KvPages& cache, int32_t from, int32_t to) {
  const int64_t k = cache.k_page(), v = cache.v_page();
  launch(stream, copy_kernel, blocks(k), kThreads, 0, cache.k + from * k, cache.k + to * k, k);
  launch(stream, copy_kernel, blocks(v), kThreads, 0, cache.v + from * v, cache.v + to * v, v);
}

void copy(Stream stream, const float* x, float* y, int64_t n) {
  launch(stream, copy_kernel, blocks(n), kThreads, 0, x, y, n);
}

void count_up(Stream stream, int32_t* ids, int64_t m, int32_t step) {
  launch(stream, count_up_kernel, blocks(m), kThreads, 0, ids, m, step);
}

void clamp_rows(Stream stream, float* x, int64_t ldx, int64_t m, int64_t width, float bound) {
  launch(stream, clamp_rows_kernel, blocks(m * width), kThreads, 0, x, ldx, m, width, bound);
}

void clamp_rows_backward(Stream stream, const float* clamped, int64_t ldx, float* dx, int64_t lddx,
                         int64_t m, int64_t width, float bound) {
  launch(stream, clamp_rows_backward_kernel, blocks(m * width), kThreads, 0, clamped, ldx, dx, lddx,
         m, width, bound);
}

void scale_rows(Stream stream, float* x, int64_t ldx, int64_t m, int64_t width, float factor) {
  launch(stream, scale_rows_kernel, blocks(m * width), kThreads, 0, x, ldx, m, width, factor);
}

void take_rows(Stream stream, const float* x, int64_t ldx, const int32_t* rows, int64_t count,
               float* out, int64_t ldout, int64_t width) {
  launch(stream, take_rows_kernel, blocks(count * width), kThreads, 0, x, ldx, rows, count, out,
         ldout, width);
}

void add_to_rows(Stream stream, const float* y, int64_t ldy, const int32_t* rows, int64_t count,
                 float* x, int64_t ldx, int64_t width) {
  launch(stream, add_to_rows_kernel, blocks(count * width), kThreads, 0, y, ldy, rows, count, x,
         ldx, width);
}

void expand_latent(Stream stream, const LatentHeads& w, const float* kv, const float* rope_part,
                   int64_t ldr, float* k, float* v, int64_t m) {
  launch(stream, expand_latent_kernel, blocks(m * w.heads * (w.nope + w.v + w.rope)), kThreads, 0,
         w, kv, rope_part, ldr, k, v, m);
}

void collapse_latent(Stream stream, const LatentHeads& w, const float* dk, const float* dv,
                     float* dkv, float* drope, int64_t ldr, int64_t m) {
  launch(stream, collapse_latent_kernel, blocks(m * (w.heads * (w.nope + w.v) + w.rope)), kThreads,
         0, w, dk, dv, dkv, drope, ldr, m);
}

void merge_attention(Stream stream, const float* part_out, const float* part_lse,
                     const int32_t* rows, int64_t count, int64_t heads, int64_t dim, float* out,
                     float* lse) {
  launch(stream, merge_attention_kernel, {count * heads}, 64, 0, part_out, part_lse, rows, heads,
         dim, out, lse);
}

void add_sinks(Stream stream, const float* sinks, float* out, int64_t ldout, float* lse, int64_t m,
               int64_t heads, int64_t dim) {
  launch(stream, add_sinks_kernel, {m * heads}, 64, 0, sinks, out, ldout, lse, heads, dim);
}

void add_sinks_backward(Stream stream, const float* sinks, const float* out, int64_t ldout,
                        const float* lse, const float* dout, int64_t lddout, float* dsinks,
                        int64_t heads, int64_t dim, const RowBounds& parts, float* partial) {
  launch(stream, sink_gradients_kernel, {parts.rows * heads}, kWarp, 0, sinks, out, ldout, lse,
         dout, lddout, partial, heads, dim);
  add_column_sums(stream, partial, heads, dsinks, heads, parts);
}

void kv_write(Stream stream, const KvPages& cache, const KvWrite* writes, int64_t count,
              const float* k, int64_t ldk, const float* v, int64_t ldv) {
  const int64_t values = cache.values_in_keys ? 0 : cache.v_dim;
  const int64_t width = cache.kv_heads * (cache.k_dim + values);
  launch(stream, kv_write_kernel, blocks(count * width), kThreads, 0, cache, writes, count, k, ldk,
         v, ldv);
}

void kv_write_backward(Stream stream, const KvPages& dcache, const KvWrite* writes, int64_t count,
                       float* dk, int64_t lddk, float* dv, int64_t lddv) {
  launch(stream, kv_write_backward_kernel, {count}, 128, 0, dcache, writes, count, dk, lddk, dv,
         lddv);
}

}  // namespace zeroth::kernels::cuda

#include "kernels/assemble.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

void copy_to(float* to, const float* from, int64_t n) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

void clear(float* at, int64_t n) { std::memset(at, 0, static_cast<size_t>(n) * sizeof(float)); }

// body(row) for rows [0, m), at least `grain` of them a task.
template <class Body>
void for_rows(int64_t m, int64_t grain, const Body& body) {
  parallel_for(m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

// Own arithmetic, because the C library's last bits differ between processors.
double exp_of(double x) {  // x <= 0
  if (x < -700) return 0;
  constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  const double n = std::nearbyint(x / (kLn2High + kLn2Low));
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1;
  for (int k = 13; k >= 1; --k) sum = 1 + sum * (r / k);
  return std::ldexp(sum, static_cast<int>(n));
}

double log_of(double x) {  // 1 <= x <= 3: 2 atanh((x - 1) / (x + 1))
  const double t = (x - 1) / (x + 1), t2 = t * t;
  double sum = 0;
  for (int k = 57; k >= 1; k -= 2) sum = sum * t2 + 1.0 / k;
  return 2 * t * sum;
}

}  // namespace

void zero_rows(float* x, int64_t ldx, int64_t m, int64_t width) {
  for_rows(m, 256, [&](int64_t i) { clear(x + i * ldx, width); });
}

void zero_pages(const KvPages& cache, std::span<const int32_t> pages) {
  for_rows(static_cast<int64_t>(pages.size()), 16, [&](int64_t i) {
    clear(cache.k + pages[i] * cache.k_page(), cache.k_page());
    if (!cache.values_in_keys) clear(cache.v + pages[i] * cache.v_page(), cache.v_page());
  });
}

void copy_page(const KvPages& cache, int32_t from, int32_t to) {
  const int64_t k = cache.k_page(), v = cache.v_page();
  copy_to(cache.k + to * k, cache.k + from * k, k);
  if (!cache.values_in_keys) copy_to(cache.v + to * v, cache.v + from * v, v);
}

void copy(const float* x, float* y, int64_t n) {
  parallel_for(n, 16'384, [&](int64_t begin, int64_t end) {
    std::memcpy(y + begin, x + begin, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

void count_up(int32_t* ids, int64_t m, int32_t step) {
  for (int64_t i = 0; i < m; ++i) ids[i] = static_cast<int32_t>(i) * step;
}

void clamp_rows(float* x, int64_t ldx, int64_t m, int64_t width, float bound) {
  for_rows(m, 64, [&](int64_t i) {
    for (float* v = x + i * ldx; v < x + i * ldx + width; ++v) *v = std::clamp(*v, -bound, bound);
  });
}

void scale_rows(float* x, int64_t ldx, int64_t m, int64_t width, float factor) {
  for_rows(m, 64, [&](int64_t i) {
    for (float* v = x + i * ldx; v < x + i * ldx + width; ++v) *v *= factor;
  });
}

void clamp_rows_backward(const float* clamped, int64_t ldx, float* dx, int64_t lddx, int64_t m,
                         int64_t width, float bound) {
  for_rows(m, 64, [&](int64_t i) {
    for (int64_t j = 0; j < width; ++j) {
      const float v = clamped[i * ldx + j];
      if (v <= -bound || v >= bound) dx[i * lddx + j] = 0;
    }
  });
}

void take_rows(const float* x, int64_t ldx, std::span<const int32_t> rows, float* out,
               int64_t ldout, int64_t width) {
  for_rows(static_cast<int64_t>(rows.size()), 64,
           [&](int64_t i) { copy_to(out + i * ldout, x + rows[i] * ldx, width); });
}

void add_to_rows(const float* y, int64_t ldy, std::span<const int32_t> rows, float* x, int64_t ldx,
                 int64_t width) {
  for_rows(static_cast<int64_t>(rows.size()), 64, [&](int64_t i) {
    float* to = x + rows[i] * ldx;
    for (int64_t j = 0; j < width; ++j) to[j] += y[i * ldy + j];
  });
}

void expand_latent(const LatentHeads& w, const float* kv, const float* rope_part, int64_t ldr,
                   float* k, float* v, int64_t m) {
  const int64_t key_width = w.nope + w.rope, from_width = w.nope + w.v;
  for_rows(m, 32, [&](int64_t i) {
    for (int64_t h = 0; h < w.heads; ++h) {
      const float* from = kv + (i * w.heads + h) * from_width;
      float* key = k + (i * w.heads + h) * key_width;
      copy_to(key, from, w.nope);
      copy_to(key + w.nope, rope_part + i * ldr, w.rope);
      copy_to(v + (i * w.heads + h) * w.v, from + w.nope, w.v);
    }
  });
}

void collapse_latent(const LatentHeads& w, const float* dk, const float* dv, float* dkv,
                     float* drope, int64_t ldr, int64_t m) {
  const int64_t key_width = w.nope + w.rope, to_width = w.nope + w.v;
  for_rows(m, 32, [&](int64_t i) {
    float* shared = drope + i * ldr;
    clear(shared, w.rope);
    for (int64_t h = 0; h < w.heads; ++h) {
      float* to = dkv + (i * w.heads + h) * to_width;
      const float* key = dk + (i * w.heads + h) * key_width;
      copy_to(to, key, w.nope);
      copy_to(to + w.nope, dv + (i * w.heads + h) * w.v, w.v);
      for (int64_t j = 0; j < w.rope; ++j) shared[j] += key[w.nope + j];
    }
  });
}

void merge_attention(const float* part_out, const float* part_lse, std::span<const int32_t> rows,
                     int64_t heads, int64_t dim, float* out, float* lse) {
  for_rows(static_cast<int64_t>(rows.size()) * heads, 64, [&](int64_t i) {
    const int64_t row = rows[i / heads], head = i % heads;
    float& total = lse[row * heads + head];
    const double a = total, b = part_lse[i], largest = std::max(a, b);
    const double common = largest + log_of(exp_of(a - largest) + exp_of(b - largest));
    const auto keep = static_cast<float>(exp_of(a - common));
    const auto take = static_cast<float>(exp_of(b - common));
    float* y = out + (row * heads + head) * dim;
    const float* x = part_out + i * dim;
    for (int64_t j = 0; j < dim; ++j) y[j] = keep * y[j] + take * x[j];
    total = static_cast<float>(common);
  });
}

void add_sinks(const float* sinks, float* out, int64_t ldout, float* lse, int64_t m, int64_t heads,
               int64_t dim) {
  const Table& isa = table();
  for_rows(m, 16,
           [&](int64_t i) { isa.add_sinks(sinks, out + i * ldout, lse + i * heads, heads, dim); });
}

void add_sinks_backward(const float* sinks, const float* out, int64_t ldout, const float* lse,
                        const float* dout, int64_t lddout, float* dsinks, int64_t m, int64_t heads,
                        int64_t dim, RowParts parts) {
  const Table& isa = table();
  float* const d = thread_scratch(Slot::kOperator, (m + 1) * heads);
  for_rows(m, 16, [&](int64_t i) {
    isa.sink_gradients(sinks, out + i * ldout, dout + i * lddout, lse + i * heads, d + i * heads,
                       heads, dim);
  });
  std::vector<RowChunk> chunks;
  cut_chunks(0, m, parts, kReductionChunk, chunks);
  float* const sums = d + m * heads;
  for (const RowChunk& chunk : chunks) {
    clear(sums, heads);
    for (int64_t row = chunk.begin; row < chunk.end; ++row) {
      isa.add(sums, d + row * heads, sums, heads);
    }
    isa.add(dsinks, sums, dsinks, heads);
  }
}

void balance_backward(const RouterConfig& router, const float* scores, const float* aux,
                      float* dlogits, int64_t m) {
  const int64_t n = router.experts;
  for_rows(m, 64, [&](int64_t i) {
    const float* score = scores + i * n;
    float sum = 0, mean = 0;
    for (int64_t e = 0; e < n; ++e) {
      sum += score[e];
      mean += aux[e] * score[e];
    }
    if (!router.sigmoid) sum = 1;
    mean /= sum;
    for (int64_t e = 0; e < n; ++e) {
      const float slope = router.sigmoid ? (1 - score[e]) / sum : 1;
      dlogits[i * n + e] += (aux[e] - mean) * score[e] * slope;
    }
  });
}

}  // namespace zeroth::kernels

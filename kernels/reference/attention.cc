// Attention over the paged cache.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/plain.h"
#include "kernels/reference/reference.h"

namespace zeroth::kernels::plain {
namespace {

using reference::Doubles;

// Where a key and a value of one head lie: values of the key are 16 floats apart.
struct Place {
  int64_t k, v;
};
Place place_of(const KvPages& cache, int64_t slot, int64_t head) {
  const int64_t page = slot / kPageTokens, token = slot % kPageTokens;
  return {page * cache.k_page() + head * cache.k_dim * kPageTokens + token,
          page * cache.v_page() + (head * kPageTokens + token) * cache.v_dim};
}

// Positions that a row sees, as slots of the cache.
std::vector<int64_t> slots_of(const AttentionRows& rows, int64_t i) {
  const int32_t sequence = rows.sequence[i], position = rows.position[i];
  const int32_t first = rows.window > 0 ? std::max(0, position - rows.window + 1) : 0;
  std::vector<int64_t> slots;
  for (int32_t t = first; t <= position; ++t) {
    const int32_t page = rows.page_table[rows.page_begin[sequence] + t / kPageTokens];
    slots.push_back(int64_t{page} * kPageTokens + t % kPageTokens);
  }
  return slots;
}

// Component d of a value.
float value_of(const KvPages& cache, const Place& at, int d) {
  return cache.values_in_keys ? cache.k[at.k + d * kPageTokens] : cache.v[at.v + d];
}

double score(const float* q, const KvPages& cache, const Place& at, float scale) {
  double sum = 0;
  for (int d = 0; d < cache.k_dim; ++d) sum += double{q[d]} * cache.k[at.k + d * kPageTokens];
  return sum * scale;
}

}  // namespace

void kv_write(const KvPages& cache, std::span<const KvWrite> writes, const float* k, int64_t ldk,
              const float* v, int64_t ldv) {
  for (const KvWrite& write : writes)
    for (int h = 0; h < cache.kv_heads; ++h) {
      const Place at = place_of(cache, write.slot, h);
      for (int d = 0; d < cache.k_dim; ++d)
        cache.k[at.k + d * kPageTokens] = k[write.row * ldk + h * cache.k_dim + d];
      for (int d = 0; !cache.values_in_keys && d < cache.v_dim; ++d)
        cache.v[at.v + d] = v[write.row * ldv + h * cache.v_dim + d];
    }
}

void kv_write_backward(const KvPages& dcache, std::span<const KvWrite> writes, float* dk,
                       int64_t lddk, float* dv, int64_t lddv) {
  for (const KvWrite& write : writes)
    for (int h = 0; h < dcache.kv_heads; ++h) {
      const Place at = place_of(dcache, write.slot, h);
      for (int d = 0; d < dcache.k_dim; ++d)
        dk[write.row * lddk + h * dcache.k_dim + d] += dcache.k[at.k + d * kPageTokens];
      for (int d = 0; d < dcache.v_dim; ++d)
        dv[write.row * lddv + h * dcache.v_dim + d] += dcache.v[at.v + d];
    }
}

void attention(const float* q, int64_t ldq, const KvPages& cache, const AttentionRows& rows,
               float scale, int heads, float* out, int64_t ldout, float* lse) {
  const int share = heads / cache.kv_heads;
  for (size_t row = 0; row < rows.sequence.size(); ++row) {
    const auto i = static_cast<int64_t>(row);
    const std::vector<int64_t> slots = slots_of(rows, i);
    for (int h = 0; h < heads; ++h) {
      Doubles scores;
      for (int64_t slot : slots)
        scores.push_back(
            score(q + i * ldq + h * cache.k_dim, cache, place_of(cache, slot, h / share), scale));
      const Doubles p = reference::softmax(scores);
      Doubles sum(cache.v_dim);
      for (size_t t = 0; t < slots.size(); ++t) {
        const Place at = place_of(cache, slots[t], h / share);
        for (int d = 0; d < cache.v_dim; ++d) sum[d] += p[t] * value_of(cache, at, d);
      }
      std::copy(sum.begin(), sum.end(), out + i * ldout + h * cache.v_dim);
      if (lse) lse[i * heads + h] = static_cast<float>(scores[0] - std::log(p[0]));
    }
  }
}

void attention_backward(const float* q, int64_t ldq, const KvPages& cache,
                        const AttentionRows& rows, float scale, int heads, const float* out,
                        int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                        float* dq, int64_t lddq, const KvPages& dcache) {
  const int share = heads / cache.kv_heads;
  for (size_t row = 0; row < rows.sequence.size(); ++row) {
    const auto i = static_cast<int64_t>(row);
    for (int h = 0; h < heads; ++h) {
      const float* query = q + i * ldq + h * cache.k_dim;
      const float* by = dout + i * lddout + h * cache.v_dim;
      double mean = 0;
      for (int d = 0; d < cache.v_dim; ++d)
        mean += double{by[d]} * out[i * ldout + h * cache.v_dim + d];
      Doubles dquery(cache.k_dim);
      for (int64_t slot : slots_of(rows, i)) {
        const Place at = place_of(cache, slot, h / share), to = place_of(dcache, slot, h / share);
        const double p = std::exp(score(query, cache, at, scale) - lse[i * heads + h]);
        double dp = 0;
        for (int d = 0; d < cache.v_dim; ++d) {
          dp += double{by[d]} * value_of(cache, at, d);
          dcache.v[to.v + d] += static_cast<float>(p * by[d]);
        }
        const double ds = scale * p * (dp - mean);
        for (int d = 0; d < cache.k_dim; ++d) {
          dquery[d] += ds * cache.k[at.k + d * kPageTokens];
          dcache.k[at.k + d * kPageTokens] += static_cast<float>(ds * query[d]);
        }
      }
      std::copy(dquery.begin(), dquery.end(), dq + i * lddq + h * cache.k_dim);
    }
  }
}

void merge_attention(const float* part_out, const float* part_lse, std::span<const int32_t> rows,
                     int64_t heads, int64_t dim, float* out, float* lse) {
  for (size_t n = 0; n < rows.size() * heads; ++n) {
    const int64_t i = static_cast<int64_t>(n), at = rows[i / heads] * heads + i % heads;
    const double a = lse[at], b = part_lse[i], top = std::max(a, b);
    const double both = top + std::log(std::exp(a - top) + std::exp(b - top));
    for (int64_t j = 0; j < dim; ++j)
      out[at * dim + j] = static_cast<float>(std::exp(a - both) * out[at * dim + j] +
                                             std::exp(b - both) * part_out[i * dim + j]);
    lse[at] = static_cast<float>(both);
  }
}

}  // namespace zeroth::kernels::plain

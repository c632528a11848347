// The gradient of attention in three steps, for some rows and one key/value head at a time: the
// weights and what they get, kept in a workspace; the gradients of keys and values, of which each
// is one chain over rows and heads in order, as on the CPU; the gradients of queries.
#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cuda/sight.cuh"

namespace zeroth::kernels::cuda {
namespace {

constexpr int64_t kMostWorkspace = int64_t{64} << 20;  // floats: more rows at a time gain nothing

struct BackwardArgs {
  const float* q;
  int64_t ldq;
  KvPages cache;
  PagedRows rows;
  float scale;
  int heads, per_kv, kv;
  const float* out;
  int64_t ldout;
  const float* lse;
  const float* dout;
  int64_t lddout;
  float* dq;
  int64_t lddq;
  KvPages dcache;
  int64_t positions;
  float *weights, *slopes;  // [rows][per_kv][positions]: exp(score - lse), d / d (q k)

  ZEROTH_DEVICE int64_t head(int h) const { return int64_t{kv} * per_kv + h; }
  ZEROTH_DEVICE int64_t at(int64_t row, int h) const { return (row * per_kv + h) * positions; }
  // Of the page that holds a sequence's position.
  ZEROTH_DEVICE int64_t page(int64_t row, int position) const {
    return rows.page_table[rows.page_begin[rows.sequence[row]] + position / kPageTokens];
  }
  ZEROTH_DEVICE int64_t key(int64_t page) const {
    return (page * cache.kv_heads + kv) * cache.k_dim * kPageTokens;
  }
  ZEROTH_DEVICE int64_t value(int64_t page) const {
    return (page * cache.kv_heads + kv) * cache.v_dim * kPageTokens;
  }
};

// A block has a row: a thread a position, for all heads of the key/value head.
__global__ void __launch_bounds__(kAttentionThreads) weights_kernel(const BackwardArgs t) {
  ZEROTH_SHARED(float, inner);  // [per_kv]: <dout, out>
  const int64_t row = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int k_dim = t.cache.k_dim, v_dim = t.cache.v_dim;
  const float* const q = t.q + row * t.ldq;
  const float* const dout = t.dout + row * t.lddout;
  for (int base = 0; base < t.per_kv; base += kAttentionThreads / kLanes) {
    const int h = base + static_cast<int>(threadIdx.x) / kLanes;
    const bool live = h < t.per_kv;
    const int padded = live ? static_cast<int>(round_up(v_dim, kLanes)) : 0;
    float sum = 0.0f;
    for (int c = lane; c < padded; c += kLanes) {
      const bool there = c < v_dim;
      const int64_t at = t.head(h) * v_dim + c;
      sum = fma(there ? dout[at] : 0.0f, there ? t.out[row * t.ldout + at] : 0.0f, sum);
    }
    sum = sum_lanes(sum);
    if (live && lane == 0) inner[h] = sum;
  }
  __syncthreads();
  const Sight s = sight_of(t.rows, row);
  for (int p = s.first + static_cast<int>(threadIdx.x); p <= s.last; p += kAttentionThreads) {
    const int64_t page = t.page(row, p);
    const int token = p % kPageTokens;
    for (int h = 0; h < t.per_kv; ++h) {
      const float* key = t.cache.k + t.key(page) + token;
      const float* const query = q + t.head(h) * k_dim;
      float score = 0.0f, given = 0.0f;
      for (int d = 0; d < k_dim; ++d, key += kPageTokens) score = fma(query[d], *key, score);
      const bool in_keys = t.cache.values_in_keys;
      const float* value = in_keys ? t.cache.k + t.key(page) + token
                                   : t.cache.v + t.value(page) + int64_t{token} * v_dim;
      const float* const g = dout + t.head(h) * v_dim;
      const int step = in_keys ? kPageTokens : 1;
      for (int c = 0; c < v_dim; ++c, value += step) given = fma(g[c], *value, given);
      const float weight = exp(sub(mul(score, t.scale), t.lse[row * t.heads + t.head(h)]));
      t.weights[t.at(row, h) + p] = weight;
      t.slopes[t.at(row, h) + p] = mul(mul(weight, sub(given, inner[h])), t.scale);
    }
  }
}

// A thread has an element of a page's keys [k_dim][16] or values [16][v_dim]. Block x: an entry of
// the page table; only a page's first one is at work. y: 128 elements.
__global__ void __launch_bounds__(kAttentionThreads) pages_kernel(const BackwardArgs t) {
  const int64_t entry = blockIdx.x;
  const int32_t* const table = t.rows.page_table;
  const int32_t id = table[entry];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t base = 0; base < entry; base += kWarp) {
    const bool equal = base + lane < entry && table[base + lane] == id;
    if (__ballot_sync(kAllLanes, equal) != 0) return;  // whole blocks: all warps see the same
  }
  int64_t low = 0, high = t.rows.sequences;  // the sequence of this entry
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (t.rows.page_begin[middle] <= entry) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int64_t index = entry - t.rows.page_begin[low];  // of the page, in every sequence it is in
  const int k_dim = t.cache.k_dim, v_dim = t.cache.v_dim;
  const int element =
      static_cast<int>(blockIdx.y) * kAttentionThreads + static_cast<int>(threadIdx.x);
  const bool of_keys = element < k_dim * kPageTokens;
  const int rest = element - k_dim * kPageTokens;
  const bool live = of_keys || rest < v_dim * kPageTokens;
  const int d = of_keys ? element / kPageTokens : rest % v_dim;
  const int token = of_keys ? element % kPageTokens : rest / v_dim;
  const int position = static_cast<int>(index) * kPageTokens + token;
  float* const to = of_keys ? t.dcache.k + t.key(id) + element : t.dcache.v + t.value(id) + rest;
  float sum = live ? *to : 0.0f;
  for (int64_t base = 0; base < t.rows.count; base += kWarp) {
    bool sees = false;
    if (const int64_t row = base + lane; row < t.rows.count) {
      const int32_t* const begin = t.rows.page_begin + t.rows.sequence[row];
      const Sight s = sight_of(t.rows, row);
      sees = begin[0] + index < begin[1] && table[begin[0] + index] == id &&
             s.last / kPageTokens >= index && s.first / kPageTokens <= index;
    }
    for (uint32_t found = __ballot_sync(kAllLanes, sees); found != 0; found &= found - 1) {
      const int64_t row = base + __ffs(found) - 1;
      const Sight s = sight_of(t.rows, row);
      if (!live || position < s.first || position > s.last) continue;
      for (int h = 0; h < t.per_kv; ++h) {
        const int64_t at = t.at(row, h) + position;
        sum = of_keys ? fma(t.q[row * t.ldq + t.head(h) * k_dim + d], t.slopes[at], sum)
                      : fma(t.weights[at], t.dout[row * t.lddout + t.head(h) * v_dim + d], sum);
      }
    }
  }
  if (live) *to = sum;
}

// Block x: a row; y: one of the heads. A thread has a component.
__global__ void __launch_bounds__(kAttentionThreads) queries_kernel(const BackwardArgs t) {
  const int64_t row = blockIdx.x;
  const int h = static_cast<int>(blockIdx.y);
  const Sight s = sight_of(t.rows, row);
  const int k_dim = t.cache.k_dim;
  for (int d = static_cast<int>(threadIdx.x); d < k_dim; d += kAttentionThreads) {
    float sum = 0.0f;
    for (int p = s.first; p <= s.last; ++p) {
      const float key = t.cache.k[t.key(t.page(row, p)) + d * kPageTokens + p % kPageTokens];
      sum = fma(t.slopes[t.at(row, h) + p], key, sum);
    }
    t.dq[row * t.lddq + t.head(h) * k_dim + d] = sum;
  }
}

// Floats of the workspace that a row takes.
int64_t floats_of_row(const KvPages& cache, const PagedRows& rows, int heads) {
  return 2 * int64_t{checked_per_kv(cache, heads)} * whole_pages(rows.longest);
}

}  // namespace

int64_t attention_backward_workspace(const KvPages& cache, const PagedRows& rows, int heads) {
  const int64_t one = floats_of_row(cache, rows, heads);
  return std::max(one, std::min(one * rows.count, kMostWorkspace));
}

void attention_backward(Stream stream, const float* q, int64_t ldq, const KvPages& cache,
                        const PagedRows& rows, float scale, int heads, const float* out,
                        int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                        float* dq, int64_t lddq, const KvPages& dcache,
                        const Workspace& workspace) {
  const int per_kv = checked_per_kv(cache, heads);
  const int64_t one = floats_of_row(cache, rows, heads);
  if (rows.count == 0) return;
  if (workspace.floats < one) {
    fail("the gradient of attention over " + std::to_string(rows.longest) +
             " positions needs a workspace of " + std::to_string(one) + " floats and has " +
             std::to_string(workspace.floats),
         "give it attention_backward_workspace() floats, or shorten the context");
  }
  const int64_t at_once = std::min(rows.count, workspace.floats / one);
  const int64_t elements = int64_t{cache.k_dim + cache.v_dim} * kPageTokens;
  for (int64_t row = 0; row < rows.count; row += at_once) {
    PagedRows part = rows;
    part.sequence += row;
    part.position += row;
    part.count = std::min(rows.count - row, at_once);
    BackwardArgs t{q + row * ldq,
                   ldq,
                   cache,
                   part,
                   scale,
                   heads,
                   per_kv,
                   0,
                   out + row * ldout,
                   ldout,
                   lse + row * heads,
                   dout + row * lddout,
                   lddout,
                   dq + row * lddq,
                   lddq,
                   dcache,
                   whole_pages(rows.longest),
                   workspace.at,
                   workspace.at + one / 2 * at_once};
    for (; t.kv < cache.kv_heads; ++t.kv) {
      launch(stream, weights_kernel, {part.count}, kAttentionThreads,
             static_cast<size_t>(per_kv) * sizeof(float), t);
      launch(stream, pages_kernel, {rows.entries, pieces_of(elements, kAttentionThreads)},
             kAttentionThreads, 0, t);
      launch(stream, queries_kernel, {part.count, per_kv}, kAttentionThreads, 0, t);
    }
  }
}

}  // namespace zeroth::kernels::cuda

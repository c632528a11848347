// One head of the gated delta net over one page, by a block: what its forward and backward kernels
// share. A thread has columns of the state; products of keys and queries are dots of warps.
#pragma once

#include "kernels/cuda/arithmetic.cuh"
#include "kernels/cuda/delta.h"

namespace zeroth::kernels::cuda {

inline constexpr int kDeltaThreads = 128, kDeltaWarps = kDeltaThreads / kWarp;
inline constexpr int kPage = kPageTokens;

// A call with its sizes, which device code cannot ask the shape for.
struct DeltaSizes {
  DeltaRuleCall call;
  int64_t heads, share, key_dim, value_dim, keys, values, memory, slot, channels, state;
};
inline DeltaSizes sizes_of(const DeltaRuleCall& call) {
  const DeltaShape& s = call.shape;
  return {call,
          s.value_heads,
          s.share(),
          s.key_dim,
          s.value_dim,
          s.keys(),
          s.values(),
          s.memory(),
          s.slot(),
          s.channels(),
          int64_t{s.key_dim} * s.value_dim};
}

// Of a page that a block works on, in shared memory.
struct DeltaPageShared {
  const float* memory[kPage];  // [keys | u | c] of each row
  int64_t row[kPage];          // of the call; -1: in the cache
  float c[kPage], begin[kPage];
  float decay[kPage * kPage], keys[kPage * kPage], queries[kPage * kPage];
};

ZEROTH_DEVICE int32_t end_of(const DeltaRun& run) { return run.position + run.rows; }

// One value head of a call.
struct DeltaHead {
  const DeltaSizes& t;
  int64_t head;

  ZEROTH_DEVICE int64_t key() const { return head / t.share * t.key_dim; }
  ZEROTH_DEVICE int64_t u() const { return t.keys + head * t.value_dim; }
  ZEROTH_DEVICE int64_t c() const { return t.keys + t.values + head; }
  ZEROTH_DEVICE float* state(int64_t number) const {
    return t.call.states + (number * t.heads + head) * t.state;
  }
  ZEROTH_DEVICE int64_t row_at(const DeltaRun& run, int32_t position) const {
    if (position >= run.position) return run.first + position - run.position;
    if (run.parent < 0) return -1;
    const DeltaRun& parent = t.call.runs[run.parent];
    return position < parent.position ? -1 : parent.first + position - parent.position;
  }
  ZEROTH_DEVICE const float* memory_at(const DeltaRun& run, int32_t position, int64_t row) const {
    if (row >= 0) return t.call.memory + row * t.memory;
    const int64_t page = t.call.page_table[run.pages + position / kPage];
    return t.call.slots + (page * kPage + position % kPage) * t.slot + t.channels;
  }
};

// Rows of page `number` that the run sees; those from `known` on are computed.
struct DeltaRange {
  int rows, known;
};
ZEROTH_DEVICE DeltaRange range_of(const DeltaRun& run, int32_t number) {
  const int32_t begin = number * kPage, left = end_of(run) - begin, before = run.position - begin;
  const int rows = left < kPage ? left : kPage;
  return {rows, before < 0 ? 0 : before < rows ? before : rows};
}

// Finds the rows and their c. `computes`: those of computed rows come from the gates, and are
// written. Ends with a barrier.
ZEROTH_DEVICE void load_page(const DeltaHead& of, const DeltaRun& run, int32_t number,
                             const DeltaRange& range, bool computes, DeltaPageShared& page) {
  __syncthreads();  // the page before is done with
  if (threadIdx.x < kPage && static_cast<int>(threadIdx.x) < range.rows) {
    const int j = static_cast<int>(threadIdx.x);
    page.row[j] = of.row_at(run, number * kPage + j);
    page.memory[j] = of.memory_at(run, number * kPage + j, page.row[j]);
    if (!computes || j < range.known) page.c[j] = page.memory[j][of.c()];
  }
  __syncthreads();
  if (computes && threadIdx.x == 0) {
    for (int j = range.known; j < range.rows; ++j) {
      const float g = of.t.call.gates[(page.row[j] * 2 + 1) * of.t.heads + of.head];
      page.c[j] = add(j > 0 ? page.c[j - 1] : 0.0f, g);
      of.t.call.memory[page.row[j] * of.t.memory + of.c()] = page.c[j];
    }
  }
  __syncthreads();
}

// exp(c_i - c_j) and the weights of pairs; exp(c_i) of all rows. Ends with a barrier.
ZEROTH_DEVICE void pair_products(const DeltaHead& of, const DeltaRange& range,
                                 DeltaPageShared& page) {
  if (static_cast<int>(threadIdx.x) < range.rows)
    page.begin[threadIdx.x] = exp(page.c[threadIdx.x]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool first = threadIdx.x % kWarp == 0;
  const int64_t key = of.key(), dim = of.t.key_dim;
  for (int at = range.known * kPage + warp; at < range.rows * kPage; at += kDeltaWarps) {
    const int i = at / kPage, j = at % kPage;
    if (j > i) continue;
    const float* const q = of.t.call.q + page.row[i] * of.t.call.ldq + key;
    const float* const k = page.memory[j] + key;
    const float decay = exp(sub(page.c[i], page.c[j]));
    const float by_query = warp_dot(k, q, dim);
    const float by_key = j < i ? warp_dot(k, page.memory[i] + key, dim) : 0.0f;
    if (!first) continue;
    page.decay[at] = decay;
    page.queries[at] = mul(decay, by_query);
    if (j < i) page.keys[at] = mul(decay, by_key);
  }
  __syncthreads();
}

// Chain over d ascending from +0 of fma(x[d], state[d, e]); null: zeros.
ZEROTH_DEVICE float state_sum(const float* x, const float* state, int64_t e, int64_t key_dim,
                              int64_t value_dim) {
  float sum = 0.0f;
  if (!state) return sum;
  for (int64_t d = 0; d < key_dim; ++d) sum = fma(x[d], state[d * value_dim + e], sum);
  return sum;
}

// The state behind a whole page, in the thread's columns.
ZEROTH_DEVICE void next_state(const DeltaHead& of, const DeltaPageShared& page, const float* state,
                              float* next) {
  const int64_t width = of.t.value_dim, key = of.key(), u = of.u();
  const float last = page.c[kPage - 1], through = exp(last);
  float decay[kPage];
  for (int j = 0; j < kPage; ++j) decay[j] = exp(sub(last, page.c[j]));
  for (int64_t e = threadIdx.x; e < width; e += kDeltaThreads) {
    for (int64_t d = 0; d < of.t.key_dim; ++d) {
      float s = state ? mul(through, state[d * width + e]) : 0.0f;
      for (int j = 0; j < kPage; ++j) {
        s = fma(mul(decay[j], page.memory[j][key + d]), page.memory[j][u + e], s);
      }
      next[d * width + e] = s;
    }
  }
}

// The state in front of the page that a run without a parent begins in, with memory for it.
ZEROTH_DEVICE const float* base_state(const DeltaHead& of, const DeltaRun& run,
                                      DeltaPageShared& page, float* to) {
  const float* state = run.base >= 0 ? of.state(run.base) : nullptr;
  for (int32_t p = run.base_pages; p < run.position / kPage; ++p) {
    load_page(of, run, p, {kPage, kPage}, false, page);
    next_state(of, page, state, to);
    state = to;
  }
  return state;
}

}  // namespace zeroth::kernels::cuda

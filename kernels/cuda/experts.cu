#include "kernels/cuda/experts.h"

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/slots.cuh"

namespace zeroth::kernels::cuda {
namespace {

constexpr int kSortThreads = 256;
constexpr int kChunkRows = 256;  // rows that a bias's gradient adds up before it is rounded
constexpr float kTiny = 1e-20f;  // added to the chosen scores' sum by sigmoid routers

// The better of two candidates: the larger value, NaN counting as the smallest; equal ones by the
// lower index.
struct Candidate {
  float value;
  int index;  // -1: none
};
ZEROTH_DEVICE bool better(const Candidate& a, const Candidate& b) {
  if (a.index < 0 || b.index < 0) return b.index < 0 && a.index >= 0;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a.value != b.value) return a.value > b.value;
  return a.index < b.index;
}
// Of all lanes of the warp.
ZEROTH_DEVICE Candidate best_of_warp(Candidate c) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Candidate other{__shfl_xor_sync(kAllLanes, c.value, step),
                          __shfl_xor_sync(kAllLanes, c.index, step)};
    if (better(other, c)) c = other;
  }
  return c;
}
// Index of the best entry that is not taken.
ZEROTH_DEVICE int best(const float* values, const int* taken, int n, int lane) {
  Candidate c{0.0f, -1};
  for (int i = lane; i < n; i += kWarp) {
    const Candidate one{values[i], i};
    if (!taken[i] && better(one, c)) c = one;
  }
  return best_of_warp(c).index;
}

// What a warp keeps of its row in shared memory.
struct RouteShared {
  float *biased, *group;
  int *taken, *group_taken;
  static size_t bytes(const RouterConfig& c) {
    return 2 * sizeof(float) * static_cast<size_t>(c.experts + c.groups);
  }
};

// scores of the row: softmax or sigmoid, lane i % 16. Both halves of the warp compute it, the lower
// one stores.
ZEROTH_DEVICE void score_row(const float* logits, float* scores, const RouterConfig& c, int lane) {
  const bool stores = lane < kLanes;
  lane %= kLanes;
  if (c.sigmoid) {
    for (int e = lane; stores && e < c.experts; e += kLanes) scores[e] = sigmoid(logits[e]);
    return;
  }
  float top = -infinity();
  for (int e = lane; e < c.experts; e += kLanes) top = larger(logits[e], top);
  top = largest_lane(top);
  float sum = 0.0f;
  const int padded = static_cast<int>(round_up(c.experts, kLanes));
  for (int e = lane; e < padded; e += kLanes) {
    sum = add(sum, e < c.experts ? exp_bounded(sub(logits[e], top)) : 0.0f);
  }
  const float total = sum_lanes(sum);
  for (int e = lane; stores && e < c.experts; e += kLanes) {
    scores[e] = div(exp_bounded(sub(logits[e], top)), total);
  }
}

// Marks the experts outside the best groups as taken.
ZEROTH_DEVICE void drop_groups(const RouterConfig& c, const RouteShared& s, int lane) {
  const int size = c.experts / c.groups;
  for (int g = lane; g < c.groups; g += kWarp) {
    float first = -infinity(), second = -infinity();
    for (int i = g * size; i < (g + 1) * size; ++i) {
      if (s.biased[i] > first) {
        second = first;
        first = s.biased[i];
      } else if (s.biased[i] > second) {
        second = s.biased[i];
      }
    }
    s.group[g] = c.group_sum_top2 && size > 1 ? add(first, second) : first;
    s.group_taken[g] = 0;
  }
  __syncwarp();
  for (int i = 0; i < c.top_groups; ++i) {
    const int g = best(s.group, s.group_taken, c.groups, lane);
    __syncwarp();
    if (lane == 0) s.group_taken[g] = 1;
    __syncwarp();
  }
  for (int e = lane; e < c.experts; e += kWarp) s.taken[e] = s.group_taken[e / size] ? 0 : 1;
  __syncwarp();
}

// Weights of the chosen, whose flag in `taken` is 2: in ascending order. Every lane adds the sum.
ZEROTH_DEVICE void weigh(const float* scores, const RouterConfig& c, const RouteShared& s,
                         int32_t* ids, float* weights, int lane) {
  float sum = 0.0f;
  int found = 0;
  for (int base = 0; base < c.experts; base += kWarp) {
    const int e = base + lane;
    const uint32_t chosen = __ballot_sync(kAllLanes, e < c.experts && s.taken[e] == 2);
    for (uint32_t rest = chosen; rest != 0; rest &= rest - 1) {
      const int expert = base + __ffs(rest) - 1;
      sum = add(sum, scores[expert]);
      if (lane == 0) ids[found] = expert;
      ++found;
    }
  }
  if (c.sigmoid) sum = add(sum, kTiny);
  __syncwarp();
  for (int i = lane; i < c.top_k; i += kWarp) {
    const float score = scores[ids[i]];
    weights[i] = mul(c.normalize ? div(score, sum) : score, c.scale);
  }
}

// A warp has a row.
__global__ void __launch_bounds__(kWarp)
    route_kernel(const float* logits, const float* bias, const RouterConfig c, int32_t* ids,
                 float* weights, float* scores) {
  ZEROTH_SHARED(float, shared);
  const RouteShared s{shared, shared + c.experts,
                      reinterpret_cast<int*>(shared + c.experts + c.groups),
                      reinterpret_cast<int*>(shared + 2 * c.experts + c.groups)};
  const int64_t row = blockIdx.x;
  const int lane = static_cast<int>(threadIdx.x);
  float* const mine = scores + row * c.experts;
  score_row(logits + row * c.experts, mine, c, lane);
  __syncwarp();
  for (int e = lane; e < c.experts; e += kWarp) {
    s.biased[e] = bias ? add(mine[e], bias[e]) : mine[e];
    s.taken[e] = 0;
  }
  __syncwarp();
  if (c.groups > 1) drop_groups(c, s, lane);
  for (int i = 0; i < c.top_k; ++i) {
    const int e = best(s.biased, s.taken, c.experts, lane);
    __syncwarp();
    if (lane == 0) s.taken[e] = 2;
    __syncwarp();
  }
  weigh(mine, c, s, ids + row * c.top_k, weights + row * c.top_k, lane);
}

// A thread has a row: its sum is short.
__global__ void __launch_bounds__(kThreads)
    weigh_choices_kernel(const float* scores, const int32_t* ids, const RouterConfig c,
                         float* weights, int64_t m) {
  const int64_t row = element();
  if (row >= m) return;
  const float* const s = scores + row * c.experts;
  const int32_t* const id = ids + row * c.top_k;
  float sum = 0.0f;
  for (int i = 0; i < c.top_k; ++i) sum = add(sum, s[id[i]]);
  if (c.sigmoid) sum = add(sum, kTiny);
  for (int i = 0; i < c.top_k; ++i) {
    const float score = s[id[i]];
    weights[row * c.top_k + i] = mul(c.normalize ? div(score, sum) : score, c.scale);
  }
}

// A thread has a logit; the sums of its row are short.
__global__ void __launch_bounds__(kThreads)
    route_backward_kernel(const float* dweights, const int32_t* ids, const float* scores,
                          const RouterConfig c, float* dlogits, int64_t m) {
  const int64_t i = element();
  if (i >= m * c.experts) return;
  const int64_t row = i / c.experts;
  const float* const s = scores + row * c.experts;
  const float* const dw = dweights + row * c.top_k;
  const int32_t* const id = ids + row * c.top_k;
  float sum = 0.0f, inner = 0.0f;
  for (int j = 0; j < c.top_k; ++j) {
    sum = add(sum, s[id[j]]);
    inner = add(inner, mul(mul(dw[j], c.scale), s[id[j]]));
  }
  if (c.sigmoid) sum = add(sum, kTiny);
  // The gradient of the chosen experts' scores; of the others it is 0.
  float mean = 0.0f, own = 0.0f;
  for (int j = 0; j < c.top_k; ++j) {
    const float g = mul(dw[j], c.scale);
    const float d = c.normalize ? div(sub(g, div(inner, sum)), sum) : g;
    mean = add(mean, mul(d, s[id[j]]));
    if (id[j] == i % c.experts) own = d;
  }
  const float score = s[i % c.experts];
  dlogits[i] = c.sigmoid ? mul(mul(own, score), sub(1.0f, score)) : mul(score, sub(own, mean));
}

// Exact whatever the order.
ZEROTH_DEVICE int sum_of_block(int value, int* shared) {
  const int t = static_cast<int>(threadIdx.x);
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  __syncthreads();  // `shared` may still be read from before
  if (t % kWarp == 0) shared[t / kWarp] = value;
  __syncthreads();
  int sum = 0;
  for (int w = 0; w < kSortThreads / kWarp; ++w) sum += shared[w];
  return sum;
}

// A block has an expert: where its choices begin is how many there are of lower experts, and they
// follow in the order of the choices.
__global__ void __launch_bounds__(kSortThreads)
    expert_sort_kernel(const int32_t* ids, int64_t n, int experts, int64_t* offsets, int32_t* order,
                       int32_t* place) {
  ZEROTH_SHARED(int, counts);
  const int expert = static_cast<int>(blockIdx.x), t = static_cast<int>(threadIdx.x);
  const int lane = t % kWarp, warp = t / kWarp;
  int below = 0;
  for (int64_t i = t; i < n; i += kSortThreads) below += ids[i] < expert ? 1 : 0;
  int at = sum_of_block(below, counts);
  if (t == 0) offsets[expert] = at;
  if (expert == experts) return;  // the last offset
  for (int64_t base = 0; base < n; base += kSortThreads) {
    const int64_t i = base + t;
    const uint32_t found = __ballot_sync(kAllLanes, i < n && ids[i] == expert);
    __syncthreads();
    if (lane == 0) counts[warp] = __popc(found);
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < kSortThreads / kWarp; ++w) {
      if (w < warp) before += counts[w];
      all += counts[w];
    }
    if (found >> lane & 1) {
      const int to = at + before + __popc(found & ((1u << lane) - 1));
      order[to] = static_cast<int32_t>(i);
      place[i] = to;
    }
    at += all;
  }
}

__global__ void __launch_bounds__(kThreads)
    places_kernel(const int32_t* order, int64_t n, int32_t* place) {
  const int64_t i = element();
  if (i < n) place[order[i]] = static_cast<int32_t>(i);
}

// A thread has a part of an expert: the first of its choices, which ascend, that is not of a row
// before the part.
__global__ void __launch_bounds__(kThreads)
    choice_parts_kernel(const int64_t* offsets, int experts, const int32_t* order, int top_k,
                        const int64_t* parts, int64_t count, int64_t* begins) {
  const int64_t i = element();
  if (i >= experts * count) return;
  const int64_t first = parts[i % count] * top_k;
  int64_t low = offsets[i / count], high = offsets[i / count + 1];
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (order[middle] < first) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  begins[i] = low;
}

__global__ void __launch_bounds__(kThreads)
    gather_rows_kernel(const float* x, int64_t ldx, const int32_t* order, int64_t choices,
                       int top_k, float* out, int64_t width) {
  const int64_t i = element();
  if (i >= choices * width) return;
  out[i] = x[order[i / width] / top_k * ldx + i % width];
}

// weights null: all 1.
__global__ void __launch_bounds__(kThreads)
    combine_kernel(const float* y, const int32_t* place, const float* weights, int top_k,
                   float* out, int64_t ldout, int64_t m, int64_t width, bool accumulate) {
  const int64_t i = element();
  if (i >= m * width) return;
  const int64_t row = i / width, e = i % width;
  float* const to = out + row * ldout + e;
  float sum = accumulate ? *to : 0.0f;
  for (int slot = 0; slot < top_k; ++slot) {
    const int64_t choice = row * top_k + slot;
    sum = fma(weights ? weights[choice] : 1.0f, y[int64_t{place[choice]} * width + e], sum);
  }
  *to = sum;
}

__global__ void __launch_bounds__(kThreads)
    balance_backward_kernel(const RouterConfig router, const float* scores, const float* aux,
                            float* dlogits, int64_t m) {
  const int64_t i = element();
  const int n = router.experts;
  if (i >= m * n) return;
  const float* const score = scores + i / n * n;
  float sum = 0.0f, mean = 0.0f;
  for (int e = 0; e < n; ++e) {
    sum = add(sum, score[e]);
    mean = add(mean, mul(aux[e], score[e]));
  }
  if (!router.sigmoid) sum = 1.0f;
  mean = div(mean, sum);
  const int e = static_cast<int>(i % n);
  const float slope = router.sigmoid ? div(sub(1.0f, score[e]), sum) : 1.0f;
  dlogits[i] = add(dlogits[i], mul(mul(sub(aux[e], mean), score[e]), slope));
}

// The group that a row lies in, or count: in none.
ZEROTH_DEVICE int64_t group_of(const RowBounds& groups, int64_t row) {
  int64_t low = 0, high = groups.count;  // the last group that begins at or before the row
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (groups.at[middle] <= row) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return row < groups.at[low + 1] ? low : groups.count;
}

__global__ void __launch_bounds__(kThreads)
    add_group_bias_kernel(float* y, int64_t ldy, const RowBounds groups, const float* bias,
                          int64_t width) {
  const int64_t i = element(), row = i / width;
  if (row >= groups.rows) return;
  const int64_t group = group_of(groups, row);
  if (group == groups.count) return;
  float* const at = y + row * ldy + i % width;
  *at = add(*at, bias[group * width + i % width]);
}

// A thread has a column of a group.
__global__ void __launch_bounds__(128)
    group_bias_kernel(const GroupBiasGradient t, const RowBounds groups, const RowBounds parts) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 128 + threadIdx.x;
  if (column >= t.width) return;
  const int64_t group = blockIdx.y;
  const int end = static_cast<int>(groups.at[group + 1]);
  float* const to = t.dbias + group * t.width + column;
  float total = *to;
  for (int at = static_cast<int>(groups.at[group]); at < end;) {
    const int last = at + chunk_rows(parts, at, end, kChunkRows);
    float sum = 0.0f;
    for (; at < last; ++at) {
      const float weight = t.weights ? t.weights[t.order ? t.order[at] : at] : 1.0f;
      sum = fma(weight, t.dy[at * t.lddy + column], sum);
    }
    total = add(total, sum);
  }
  *to = total;
}

// A warp has a row.
__global__ void __launch_bounds__(kWarp)
    group_bias_weight_kernel(const GroupBiasGradient t, const RowBounds groups) {
  const int64_t row = blockIdx.x, group = group_of(groups, row);
  if (group == groups.count) return;  // the whole warp
  const float inner = warp_dot(t.dy + row * t.lddy, t.bias + group * t.width, t.width);
  if (threadIdx.x != 0) return;
  float* const to = t.dweights + (t.order ? t.order[row] : row);
  *to = add(*to, inner);
}

}  // namespace

void route(Stream stream, const float* logits, const float* bias, const RouterConfig& config,
           int32_t* ids, float* weights, float* scores, int64_t m) {
  launch(stream, route_kernel, {m}, kWarp, RouteShared::bytes(config), logits, bias, config, ids,
         weights, scores);
}

void weigh_choices(Stream stream, const float* scores, const int32_t* ids,
                   const RouterConfig& config, float* weights, int64_t m) {
  launch(stream, weigh_choices_kernel, blocks(m), kThreads, 0, scores, ids, config, weights, m);
}

void route_backward(Stream stream, const float* dweights, const int32_t* ids, const float* scores,
                    const RouterConfig& config, float* dlogits, int64_t m) {
  launch(stream, route_backward_kernel, blocks(m * config.experts), kThreads, 0, dweights, ids,
         scores, config, dlogits, m);
}

void expert_sort(Stream stream, const int32_t* ids, int64_t m, int top_k, int experts,
                 int64_t* offsets, int32_t* order, int32_t* place) {
  launch(stream, expert_sort_kernel, {experts + 1}, kSortThreads,
         kSortThreads / kWarp * sizeof(int), ids, m * top_k, experts, offsets, order, place);
}

void places_of(Stream stream, const int32_t* order, int64_t choices, int32_t* place) {
  launch(stream, places_kernel, blocks(choices), kThreads, 0, order, choices, place);
}

void choice_parts(Stream stream, const int64_t* offsets, int experts, const int32_t* order,
                  int top_k, const int64_t* parts, int64_t count, int64_t* begins) {
  launch(stream, choice_parts_kernel, blocks(experts * count), kThreads, 0, offsets, experts, order,
         top_k, parts, count, begins);
}

void gather_rows(Stream stream, const float* x, int64_t ldx, const int32_t* order, int64_t choices,
                 int top_k, float* out, int64_t width) {
  launch(stream, gather_rows_kernel, blocks(choices * width), kThreads, 0, x, ldx, order, choices,
         top_k, out, width);
}

void gather_rows_backward(Stream stream, const float* dout, const int32_t* place, int top_k,
                          float* dx, int64_t lddx, int64_t m, int64_t width, bool accumulate) {
  launch(stream, combine_kernel, blocks(m * width), kThreads, 0, dout, place,
         static_cast<const float*>(nullptr), top_k, dx, lddx, m, width, accumulate);
}

void add_group_bias(Stream stream, float* y, int64_t ldy, const RowBounds& groups,
                    const float* bias, int64_t width) {
  launch(stream, add_group_bias_kernel, blocks(groups.rows * width), kThreads, 0, y, ldy, groups,
         bias, width);
}

void group_bias_backward(Stream stream, const GroupBiasGradient& rows, const RowBounds& groups,
                         const RowBounds& parts) {
  launch(stream, group_bias_kernel, {(rows.width + 127) / 128, groups.count}, 128, 0, rows, groups,
         parts);
  if (rows.dweights) {
    launch(stream, group_bias_weight_kernel, {groups.rows}, kWarp, 0, rows, groups);
  }
}

void combine(Stream stream, const float* y, const int32_t* place, const float* weights, int top_k,
             float* out, int64_t ldout, int64_t m, int64_t width) {
  launch(stream, combine_kernel, blocks(m * width), kThreads, 0, y, place, weights, top_k, out,
         ldout, m, width, false);
}

void balance_backward(Stream stream, const RouterConfig& router, const float* scores,
                      const float* aux, float* dlogits, int64_t m) {
  launch(stream, balance_backward_kernel, blocks(m * router.experts), kThreads, 0, router, scores,
         aux, dlogits, m);
}

}  // namespace zeroth::kernels::cuda

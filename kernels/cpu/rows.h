// Operators on rows: normalisation, rotation, softmax, the optimizer's elementwise step.
#pragma once

#include "kernels/cpu/math.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// Calls f(offset, lanes) for every vector of a row of n; lanes is 16 but for the last.
template <class F>
ZEROTH_INLINE void for_lanes(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, static_cast<int>(n - i));
}
ZEROTH_INLINE Vec load_part(const float* p, int lanes) {
  return lanes == kLanes ? load(p) : load_first(p, lanes);
}
ZEROTH_INLINE void store_part(float* p, Vec x, int lanes) {
  if (lanes == kLanes) {
    store(p, x);
  } else {
    store_first(p, x, lanes);
  }
}

// Dot product: vector j of the row goes to accumulator j % 4, each an FMA chain; (a0 + a1) + (a2 +
// a3), then the tree.
ZEROTH_INLINE float dot_row(const float* a, const float* b, int64_t n) {
  Vec acc[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
      acc[j] = fma(load(a + i + j * kLanes), load(b + i + j * kLanes), acc[j]);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const int64_t left = n - i - j * kLanes;
    if (left <= 0) break;
    const int lanes = left < kLanes ? static_cast<int>(left) : kLanes;
    acc[j] =
        fma(load_first(a + i + j * kLanes, lanes), load_first(b + i + j * kLanes, lanes), acc[j]);
  }
  return sum_lanes(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
}
inline float dot(const float* a, const float* b, int64_t n) { return dot_row(a, b, n); }

template <bool kPlusOne>
ZEROTH_INLINE Vec load_norm(const float* weight, int lanes) {
  const Vec w = load_part(weight, lanes);
  if constexpr (kPlusOne) return add(w, splat(1.0f));
  return w;
}

template <bool kPlusOne>
inline void norm_rows(const float* x, int64_t ldx, const float* weight, float eps, float* y,
                      int64_t ldy, float* inv_rms, int64_t m, int64_t width) {
  for (int64_t row = 0; row < m; ++row, x += ldx, y += ldy) {
    const float mean = dot_row(x, x, width) / static_cast<float>(width);
    const float inv = 1.0f / __builtin_sqrtf(mean + eps);
    if (inv_rms) inv_rms[row] = inv;
    const Vec scale = splat(inv);
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec w = load_norm<kPlusOne>(weight + i, lanes);
      store_part(y + i, mul(mul(load_part(x + i, lanes), scale), w), lanes);
    });
  }
}

inline void rms_norm(const float* x, int64_t ldx, const float* weight, float eps, float* y,
                     int64_t ldy, float* inv_rms, int64_t m, int64_t width, bool plus_one) {
  const auto rows = plus_one ? norm_rows<true> : norm_rows<false>;
  rows(x, ldx, weight, eps, y, ldy, inv_rms, m, width);
}

template <bool kPlusOne>
inline void norm_rows_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                               const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                               float* dweight, int64_t m, int64_t width, bool accumulate) {
  for (int64_t row = 0; row < m; ++row, dy += lddy, x += ldx, dx += lddx) {
    const float inv = inv_rms[row];
    const Vec scale = splat(inv);
    Vec sum = splat(0.0f);
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec g = load_part(dy + i, lanes), normal = mul(load_part(x + i, lanes), scale);
      const Vec gx = mul(g, normal);
      store_part(dweight + i, add(load_part(dweight + i, lanes), gx), lanes);
      sum = fma(gx, load_norm<kPlusOne>(weight + i, lanes), sum);
    });
    const Vec mean = splat(sum_lanes(sum) / static_cast<float>(width));
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec g = mul(load_part(dy + i, lanes), load_norm<kPlusOne>(weight + i, lanes));
      const Vec normal = mul(load_part(x + i, lanes), scale);
      Vec d = mul(fnma(normal, mean, g), scale);
      if (accumulate) d = add(load_part(dx + i, lanes), d);
      store_part(dx + i, d, lanes);
    });
  }
}

inline void rms_norm_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                              const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                              float* dweight, int64_t m, int64_t width, bool accumulate,
                              bool plus_one) {
  const auto rows = plus_one ? norm_rows_backward<true> : norm_rows_backward<false>;
  rows(dy, lddy, x, ldx, weight, inv_rms, dx, lddx, dweight, m, width, accumulate);
}

inline void add_rows(const float* a, const float* b, float* y, int64_t n) {
  for_lanes(n, [&](int64_t i, int lanes) {
    store_part(y + i, add(load_part(a + i, lanes), load_part(b + i, lanes)), lanes);
  });
}

inline void axpy(float a, const float* x, float* y, int64_t n, bool accumulate) {
  const Vec scale = splat(a);
  for_lanes(n, [&](int64_t i, int lanes) {
    const Vec start = accumulate ? load_part(y + i, lanes) : splat(0.0f);
    store_part(y + i, fma(scale, load_part(x + i, lanes), start), lanes);
  });
}

// (a, b) -> (a cos - b sin, b cos + a sin).
ZEROTH_INLINE void rotate(Vec a, Vec b, Vec c, Vec s, Vec* x, Vec* y) {
  *x = fnma(b, s, mul(a, c));
  *y = fma(a, s, mul(b, c));
}

inline void rope(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions,
                 const float* cos, const float* sin, int64_t m, int heads, int dim,
                 bool interleaved, bool inverse) {
  const int half = dim / 2;
  const Vec sign = splat(inverse ? -1.0f : 1.0f);
  for (int64_t row = 0; row < m; ++row) {
    const float* c = cos + int64_t{positions[row]} * half;
    const float* s = sin + int64_t{positions[row]} * half;
    for (int head = 0; head < heads; ++head) {
      float* p = x + row * ldx + head * head_stride;
      for_lanes(half, [&](int64_t i, int lanes) {
        const Vec cv = load_part(c + i, lanes), sv = mul(load_part(s + i, lanes), sign);
        Vec a, b;
        if (!interleaved) {
          rotate(load_part(p + i, lanes), load_part(p + half + i, lanes), cv, sv, &a, &b);
          store_part(p + i, a, lanes);
          store_part(p + half + i, b, lanes);
          return;
        }
        float even[kLanes] = {}, odd[kLanes] = {};
        for (int j = 0; j < lanes; ++j) {
          even[j] = p[2 * (i + j)];
          odd[j] = p[2 * (i + j) + 1];
        }
        rotate(load(even), load(odd), cv, sv, &a, &b);
        store(even, a);
        store(odd, b);
        for (int j = 0; j < lanes; ++j) {
          p[2 * (i + j)] = even[j];
          p[2 * (i + j) + 1] = odd[j];
        }
      });
    }
  }
}

// --- softmax family: one row of logits
// ----------------------------------------------------------------------------
ZEROTH_INLINE float largest_of(const float* x, int64_t n, Vec scale) {
  const Vec nothing = splat(-__builtin_inff());
  Vec top = nothing;
  for_lanes(n, [&](int64_t i, int lanes) {
    const Vec z = mul(load_part(x + i, lanes), scale);
    top = larger(lanes == kLanes ? z : select(first(lanes), z, nothing), top);
  });
  return largest_lane(top);
}

inline void softmax(const float* x, float* y, int64_t n) {
  const Vec one = splat(1.0f), shift = splat(largest_of(x, n, one)), zero = splat(0.0f);
  Vec sum = zero;
  for_lanes(n, [&](int64_t i, int lanes) {
    Vec e = exp_bounded(sub(load_part(x + i, lanes), shift));
    if (lanes < kLanes) e = select(first(lanes), e, zero);
    sum = add(sum, e);
    store_part(y + i, e, lanes);
  });
  const Vec total = splat(sum_lanes(sum));
  for_lanes(n, [&](int64_t i, int lanes) {
    store_part(y + i, div(load_part(y + i, lanes), total), lanes);
  });
}

inline void sigmoid_row(const float* x, float* y, int64_t n) {
  for_lanes(
      n, [&](int64_t i, int lanes) { store_part(y + i, sigmoid(load_part(x + i, lanes)), lanes); });
}

// Vector j of the row goes to accumulators j % 4: shorter chains, so better sums of long rows.
inline RowStatistics row_statistics(const float* logits, int64_t n, float scale) {
  const Vec by = splat(scale), zero = splat(0.0f);
  const float largest = largest_of(logits, n, by);
  const Vec shift = splat(largest);
  Vec sum[4] = {zero, zero, zero, zero}, moment[4] = {zero, zero, zero, zero};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Vec z = sub(mul(load(logits + i + j * kLanes), by), shift);
      const Vec e = exp_bounded(z);
      sum[j] = add(sum[j], e);
      moment[j] = fma(e, z, moment[j]);
    }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const int64_t left = n - i - j * kLanes;
    if (left <= 0) break;
    const int lanes = left < kLanes ? static_cast<int>(left) : kLanes;
    const Vec z = sub(mul(load_first(logits + i + j * kLanes, lanes), by), shift);
    const Vec e = select(first(lanes), exp_bounded(z), zero);
    sum[j] = add(sum[j], e);
    moment[j] = fma(e, z, moment[j]);
  }
  const float total = sum_lanes(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
  const float first_moment = sum_lanes(add(add(moment[0], moment[1]), add(moment[2], moment[3])));
  const float log_total = log(total);
  return {largest, largest + log_total, log_total - first_moment / total};
}

inline void row_exp(const float* logits, int64_t n, float scale, float largest, float* weights) {
  const Vec by = splat(scale), shift = splat(largest);
  for_lanes(n, [&](int64_t i, int lanes) {
    store_part(weights + i, exp(sub(mul(load_part(logits + i, lanes), by), shift)), lanes);
  });
}

// The cumulative sum behind sampling: blocks of 64 ids, each summed by lanes and the tree, added in
// double in ascending order; inside the block that the target falls into, one id after the other.
inline constexpr int64_t kBlockIds = 64;

ZEROTH_INLINE float block_sum(const float* weights, int64_t n) {
  Vec sum = splat(0.0f);
  for_lanes(n, [&](int64_t i, int lanes) { sum = add(sum, load_part(weights + i, lanes)); });
  return sum_lanes(sum);
}

inline double row_total(const float* weights, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += kBlockIds)
    total = total + block_sum(weights + i, n - i < kBlockIds ? n - i : kBlockIds);
  return total;
}

inline int64_t row_find(const float* weights, int64_t n, double target) {
  double total = 0;
  for (int64_t i = 0; i < n; i += kBlockIds) {
    const int64_t ids = n - i < kBlockIds ? n - i : kBlockIds;
    const double next = total + block_sum(weights + i, ids);
    if (target < next) {
      for (int64_t j = i; j < i + ids; ++j) {
        total = total + weights[j];
        if (target < total) return j;
      }
      // The block's tree rounded up: its last possible id takes the difference.
      for (int64_t j = i + ids - 1; j >= i; --j)
        if (weights[j] > 0) return j;
    }
    total = next;
  }
  for (int64_t j = n - 1; j > 0; --j)
    if (weights[j] > 0) return j;
  return 0;
}

// d logprob[target] / dz = [target] - p; d entropy / dz = -p (log p + entropy); z = scale * logit.
inline void row_gradient(float* logits, int64_t n, float scale, const RowStatistics& row,
                         float dlogprob, float dentropy) {
  const Vec by = splat(scale), lse = splat(row.lse), entropy = splat(row.entropy);
  const Vec dl = splat(dlogprob), de = splat(dentropy), zero = splat(0.0f);
  for_lanes(n, [&](int64_t i, int lanes) {
    const Vec log_p = sub(mul(load_part(logits + i, lanes), by), lse);
    const Vec p = exp(log_p);
    const Vec g = fma(de, add(log_p, entropy), dl);  // -(gradient) / p
    store_part(logits + i, mul(mul(sub(zero, p), g), by), lanes);
  });
}

// --- optimizer
// --------------------------------------------------------------------------------------------------------
// Eight double lanes by index % 8, then their tree.
inline double sum_squares(const float* x, int64_t n) {
  double lane[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; ++j)
      lane[j] = lane[j] + static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  for (int j = 0; i + j < n; ++j)
    lane[j] = lane[j] + static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

inline void adamw(float* w, const float* grad, float* m, float* v, int64_t n,
                  const AdamWConstants& c) {
  const Vec scale = splat(c.grad_scale), keep1 = splat(c.beta1), add1 = splat(c.one_minus_beta1);
  const Vec keep2 = splat(c.beta2), add2 = splat(c.one_minus_beta2), eps = splat(c.eps);
  const Vec step = splat(c.step_size), correction = splat(c.inverse_root_correction2),
            decay = splat(c.decay);
  for_lanes(n, [&](int64_t i, int lanes) {
    const Vec g = mul(load_part(grad + i, lanes), scale);
    const Vec first = fma(add1, g, mul(keep1, load_part(m + i, lanes)));
    const Vec second = fma(mul(add2, g), g, mul(keep2, load_part(v + i, lanes)));
    const Vec size = add(mul(root(second), correction), eps);
    store_part(m + i, first, lanes);
    store_part(v + i, second, lanes);
    const Vec shrunk = mul(load_part(w + i, lanes), decay);
    store_part(w + i, fnma(step, div(first, size), shrunk), lanes);
  });
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// What the gated delta net's recurrence reads: the causal convolution and the gates, forward and
// backward.
#pragma once

#include "kernels/cpu/delta_args.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// --- convolution

// Where tap j of a row reads; null: in front of the sequence.
ZEROTH_INLINE const float* tap_of(const ConvRows& t, int64_t row, int64_t j) {
  if (j + 1 == t.taps) return t.x + row * t.ldx;
  const int64_t at = t.past[row * (t.taps - 1) + j];
  return at >= 0 ? t.x + at * t.ldx : at == -1 ? nullptr : t.slots + (-2 - at) * t.ldslot;
}

ZEROTH_INLINE Vec conv_sum(const ConvRows& t, int64_t row, int64_t i, int lanes) {
  Vec sum = splat(0.0f);
  for (int64_t j = 0; j < t.taps; ++j) {
    const float* const from = tap_of(t, row, j);
    if (!from) continue;
    sum = fma(load_part(t.w + j * t.channels + i, lanes), load_part(from + i, lanes), sum);
  }
  return sum;
}

inline void conv_rows(const ConvRows& t, float* y, int64_t ldy, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row)
    for_lanes(t.channels, [&](int64_t i, int lanes) {
      const Vec z = conv_sum(t, row, i, lanes);
      const Vec below = add(splat(1.0f), exp(sub(splat(0.0f), z)));
      store_part(y + row * ldy + i, div(z, below), lanes);
    });
}

// dz [rows of the call, channels] of the sums, from dy.
inline void conv_slopes(const ConvRows& t, const float* dy, int64_t lddy, float* dz, int64_t begin,
                        int64_t end) {
  const Vec one = splat(1.0f);
  for (int64_t row = begin; row < end; ++row)
    for_lanes(t.channels, [&](int64_t i, int lanes) {
      const Vec z = conv_sum(t, row, i, lanes), s = sigmoid(z);
      const Vec slope = mul(s, fma(z, sub(one, s), one));
      store_part(dz + row * t.channels + i, mul(load_part(dy + row * lddy + i, lanes), slope),
                 lanes);
    });
}

// Channels [i, i + lanes) of rows [begin, end): dx += of the rows that are read, sum [taps, channels]
// += .
inline void conv_gradients(const ConvRows& t, const float* dz, float* dx, int64_t lddx, float* sum,
                           int64_t begin, int64_t end, int64_t i, int lanes) {
  for (int64_t row = begin; row < end; ++row) {
    const Vec d = load_part(dz + row * t.channels + i, lanes);
    for (int64_t j = 0; j < t.taps; ++j) {
      const float* const from = tap_of(t, row, j);
      if (!from) continue;
      float* const to = sum + j * t.channels + i;
      store_part(to, fma(d, load_part(from + i, lanes), load_part(to, lanes)), lanes);
      const int64_t at = j + 1 == t.taps ? row : t.past[row * (t.taps - 1) + j];
      if (at < 0) continue;
      float* const back = dx + at * lddx + i;
      const Vec w = load_part(t.w + j * t.channels + i, lanes);
      store_part(back, fma(w, d, load_part(back, lanes)), lanes);
    }
  }
}

// --- gates

// log(1 + exp(x)), x above 20 as it is.
ZEROTH_INLINE Vec softplus(Vec x, int lanes) {
  float in[kLanes], sum[kLanes];
  store(in, x);
  store(sum, add(splat(1.0f), exp(x)));
  for (int j = 0; j < lanes; ++j)
    if (!(in[j] > 20.0f)) in[j] = log(sum[j]);
  return load(in);
}

inline void delta_gates(const float* x, const float* a_log, const float* dt_bias, float* gates,
                        int64_t heads) {
  for_lanes(heads, [&](int64_t i, int lanes) {
    store_part(gates + i, sigmoid(load_part(x + i, lanes)), lanes);
    const Vec time =
        softplus(add(load_part(x + heads + i, lanes), load_part(dt_bias + i, lanes)), lanes);
    const Vec rate = sub(splat(0.0f), exp(load_part(a_log + i, lanes)));
    store_part(gates + heads + i, mul(rate, time), lanes);
  });
}

// One row; d [a_log | dt_bias] (=) is the row's part of their gradients.
inline void delta_gates_backward(const float* dgates, const float* x, const float* a_log,
                                 const float* dt_bias, const float* gates, float* dx, float* d,
                                 int64_t heads) {
  for_lanes(heads, [&](int64_t i, int lanes) {
    const Vec beta = load_part(gates + i, lanes), one = splat(1.0f);
    store_part(dx + i, mul(load_part(dgates + i, lanes), mul(beta, sub(one, beta))), lanes);
    const Vec dg = load_part(dgates + heads + i, lanes);
    const Vec a = add(load_part(x + heads + i, lanes), load_part(dt_bias + i, lanes));
    const Vec rate = sub(splat(0.0f), exp(load_part(a_log + i, lanes)));
    const Vec da = mul(mul(dg, rate), sigmoid(a));
    store_part(dx + heads + i, da, lanes);
    store_part(d + i, mul(dg, load_part(gates + heads + i, lanes)), lanes);
    store_part(d + heads + i, da, lanes);
  });
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

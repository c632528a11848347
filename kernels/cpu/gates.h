// The gates of feed-forward blocks and the cap of logits, forward and backward.
#pragma once

#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

template <bool kGelu>
inline void gated_rows(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m,
                       int64_t width) {
  for (int64_t row = 0; row < m; ++row, gu += ldgu, y += ldy)
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec gate = load_part(gu + i, lanes);
      store_part(y + i, mul(kGelu ? gelu(gate) : silu(gate), load_part(gu + width + i, lanes)),
                 lanes);
    });
}

inline void swiglu(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
                   bool gelu) {
  const auto rows = gelu ? gated_rows<true> : gated_rows<false>;
  rows(gu, ldgu, y, ldy, m, width);
}

template <bool kGelu>
inline void gated_rows_backward(const SwigluBackward& t) {
  const Vec one = splat(1.0f);
  for (int64_t row = 0; row < t.m; ++row) {
    const float* dy = t.dy + row * t.lddy;
    const float* gu = t.gu + row * t.ldgu;
    float* dgu = t.dgu + row * t.lddgu;
    const int64_t choice = t.order ? t.order[row] : row;
    const Vec weight = t.weights ? splat(t.weights[choice]) : one;
    Vec sum = splat(0.0f);
    for_lanes(t.width, [&](int64_t i, int lanes) {
      const Vec g = load_part(gu + i, lanes), u = load_part(gu + t.width + i, lanes);
      const Vec raw = load_part(dy + i, lanes), d = mul(raw, weight);
      const Vec below = add(one, exp(sub(splat(0.0f), kGelu ? gelu_inner(g) : g)));
      const Vec s = div(one, below);
      if (t.act) {
        const Vec y = mul(div(g, below), u);
        sum = add(sum, mul(y, raw));
        store_part(t.act + row * t.width + i, mul(y, weight), lanes);
      }
      // d silu / dg = s (1 + g (1 - s)); of gelu with the inner function's slope times g for g.
      const Vec slope = mul(s, fma(kGelu ? gelu_inner_slope(g) : g, sub(one, s), one));
      store_part(dgu + i, mul(mul(d, u), slope), lanes);
      store_part(dgu + t.width + i, mul(d, mul(g, s)), lanes);
    });
    if (t.dweights) t.dweights[choice] = sum_lanes(sum);
  }
}

inline void swiglu_backward(const SwigluBackward& t) {
  const auto rows = t.gelu ? gated_rows_backward<true> : gated_rows_backward<false>;
  rows(t);
}

// tanh(t) = 2 sigmoid(2 t) - 1: 0 at 0, elsewhere within 2e-7.
inline void softcap(float* x, int64_t n, float cap) {
  const Vec by = splat(2.0f / cap), twice = splat(2.0f * cap), below = splat(-cap);
  for_lanes(n, [&](int64_t i, int lanes) {
    store_part(x + i, fma(twice, sigmoid(mul(load_part(x + i, lanes), by)), below), lanes);
  });
}

inline void softcap_backward(const float* capped, float* d, int64_t n, float cap) {
  const Vec by = splat(1.0f / cap), one = splat(1.0f);
  for_lanes(n, [&](int64_t i, int lanes) {
    const Vec t = mul(load_part(capped + i, lanes), by);  // d (1 - tanh^2)
    store_part(d + i, mul(load_part(d + i, lanes), fnma(t, t, one)), lanes);
  });
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

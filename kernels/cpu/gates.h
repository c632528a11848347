// The gates of feed-forward blocks and the cap of logits, forward and backward.
#pragma once

#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/table.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// A gate and its partner, clamped where the kind does that, and whose sigmoid the gate takes.
template <Gate::Kind kKind>
struct Gated {
  Vec limit, floor, alpha;
  explicit Gated(const Gate& gate)
      : limit(splat(gate.limit)), floor(splat(-gate.limit)), alpha(splat(gate.alpha)) {}
  ZEROTH_INLINE Vec gate(Vec g) const { return kKind == Gate::kClamped ? smaller(limit, g) : g; }
  ZEROTH_INLINE Vec up(Vec u) const {
    return kKind == Gate::kClamped ? add(smaller(limit, larger(floor, u)), splat(1.0f)) : u;
  }
  ZEROTH_INLINE Vec inner(Vec g) const {
    return kKind == Gate::kGelu ? gelu_inner(g) : kKind == Gate::kClamped ? mul(g, alpha) : g;
  }
  // g times the slope of inner().
  ZEROTH_INLINE Vec inner_slope(Vec g) const {
    return kKind == Gate::kGelu ? gelu_inner_slope(g) : inner(g);
  }
};

template <Gate::Kind kKind>
inline void gated_rows(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m,
                       int64_t width, const Gate& gate) {
  const Gated<kKind> of(gate);
  const Vec one = splat(1.0f), zero = splat(0.0f);
  for (int64_t row = 0; row < m; ++row, gu += ldgu, y += ldy)
    for_lanes(width, [&](int64_t i, int lanes) {
      const Vec g = of.gate(load_part(gu + i, lanes)), u = of.up(load_part(gu + width + i, lanes));
      const Vec below = add(one, exp(sub(zero, of.inner(g))));
      const Vec above = kKind == Gate::kSigmoid ? one : g;
      store_part(y + i, mul(div(above, below), u), lanes);
    });
}

inline void swiglu(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
                   const Gate& gate) {
  const auto rows = gate.kind == Gate::kGelu      ? gated_rows<Gate::kGelu>
                    : gate.kind == Gate::kClamped ? gated_rows<Gate::kClamped>
                    : gate.kind == Gate::kSigmoid ? gated_rows<Gate::kSigmoid>
                                                  : gated_rows<Gate::kSilu>;
  rows(gu, ldgu, y, ldy, m, width, gate);
}

// What was clamped passes no gradient.
inline void drop_clamped(const float* gu, float* dgu, int64_t width, float limit) {
  for (int64_t i = 0; i < width; ++i) {
    const float g = gu[i], u = gu[width + i];
    if (g > limit) dgu[i] = 0.0f;
    if (u > limit || u < -limit) dgu[width + i] = 0.0f;
  }
}

template <Gate::Kind kKind>
inline void gated_rows_backward(const SwigluBackward& t) {
  const Gated<kKind> of(t.gate);
  const Vec one = splat(1.0f);
  for (int64_t row = 0; row < t.m; ++row) {
    const float* dy = t.dy + row * t.lddy;
    const float* gu = t.gu + row * t.ldgu;
    float* dgu = t.dgu + row * t.lddgu;
    const int64_t choice = t.order ? t.order[row] : row;
    const Vec weight = t.weights ? splat(t.weights[choice]) : one;
    Vec sum = splat(0.0f);
    for_lanes(t.width, [&](int64_t i, int lanes) {
      const Vec g = of.gate(load_part(gu + i, lanes));
      const Vec u = of.up(load_part(gu + t.width + i, lanes));
      const Vec raw = load_part(dy + i, lanes), d = mul(raw, weight);
      const Vec below = add(one, exp(sub(splat(0.0f), of.inner(g))));
      const Vec s = div(one, below);
      const bool plain = kKind == Gate::kSigmoid;  // not times g
      if (t.act) {
        const Vec y = mul(plain ? s : div(g, below), u);
        sum = add(sum, mul(y, raw));
        store_part(t.act + row * t.width + i, mul(y, weight), lanes);
      }
      // d (g sigmoid(i(g))) / dg = s (1 + g i'(g) (1 - s)).
      const Vec slope =
          plain ? mul(s, sub(one, s)) : mul(s, fma(of.inner_slope(g), sub(one, s), one));
      store_part(dgu + i, mul(mul(d, u), slope), lanes);
      store_part(dgu + t.width + i, mul(d, plain ? s : mul(g, s)), lanes);
    });
    if (kKind == Gate::kClamped) drop_clamped(gu, dgu, t.width, t.gate.limit);
    if (t.dweights) t.dweights[choice] = sum_lanes(sum);
  }
}

inline void swiglu_backward(const SwigluBackward& t) {
  const auto rows = t.gate.kind == Gate::kGelu      ? gated_rows_backward<Gate::kGelu>
                    : t.gate.kind == Gate::kClamped ? gated_rows_backward<Gate::kClamped>
                    : t.gate.kind == Gate::kSigmoid ? gated_rows_backward<Gate::kSigmoid>
                                                    : gated_rows_backward<Gate::kSilu>;
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

// Elementary functions over sixteen lanes, from explicit FMAs only (docs/numerics.md, section
// "Elementary functions").
#pragma once

#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// exp of x <= 88.8: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody-Waite, two constants), a polynomial
// of degree 6 in r, then one multiplication by 2^n, which is +0 for n = -127. exp(0) = 1 exactly,
// exp(x) = +0 below -87.69 (so also for -inf), +inf above 88.38; NaN stays NaN. Error at most 1
// ulp.
ZEROTH_INLINE Vec exp_bounded(Vec x) {
  // Adding 1.5 * 2^23 rounds to an integer (ties to even) and leaves it in the low bits, from where
  // a shift moves it to the exponent.
  const Vec magic = splat(12582912.0f), one = splat(1.0f);
  x = larger(splat(-88.0f), x);
  const Vec shifted = fma(x, splat(1.44269504088896341f), magic);
  const Vec n = sub(shifted, magic);
  Vec r = fnma(n, splat(0.693145751953125f), x);
  r = fnma(n, splat(1.42860677e-6f), r);
  Vec p = splat(1.38637563e-3f);
  p = fma(p, r, splat(8.36750958e-3f));
  p = fma(p, r, splat(4.16672379e-2f));
  p = fma(p, r, splat(1.66665345e-1f));
  p = fma(p, r, splat(0.5f));
  p = fma(p, r, one);
  p = fma(p, r, one);
  return mul(p, vec_of(add(shift_left<23>(bits_of(shifted)), bits_of(one))));
}

ZEROTH_INLINE Vec exp(Vec x) { return exp_bounded(smaller(splat(88.8f), x)); }

// 1 / (1 + exp(-x)).
ZEROTH_INLINE Vec sigmoid(Vec x) {
  const Vec one = splat(1.0f);
  return div(one, add(one, exp(sub(splat(0.0f), x))));
}

// The tanh form of GELU is x / (1 + exp(-u)), u = 2 sqrt(2/pi) (x + 0.044715 x^3).
inline constexpr float kGeluLinear = 0x1.988454p+0f, kGeluCubic = 0x1.2444f2p-4f;
ZEROTH_INLINE Vec gelu_inner(Vec x) {
  return mul(fma(mul(x, x), splat(kGeluCubic), splat(kGeluLinear)), x);
}
// x du/dx.
ZEROTH_INLINE Vec gelu_inner_slope(Vec x) {
  return mul(fma(mul(x, x), splat(3 * kGeluCubic), splat(kGeluLinear)), x);
}

// Natural logarithm of a positive normal number, once per row: in double, without FMAs. x = 2^n m
// with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), as the odd series to
// s^19; log(1) = 0 exactly.
ZEROTH_INLINE float log(float x) {
  const double wide = x;
  uint64_t bits;
  __builtin_memcpy(&bits, &wide, sizeof(bits));
  int64_t n = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
  double m;
  __builtin_memcpy(&m, &bits, sizeof(m));
  if (m > 1.4142135623730951) {
    m = m * 0.5;
    n = n + 1;
  }
  const double s = (m - 1.0) / (m + 1.0);
  const double q = s * s;
  double p = 2.0 / 19.0;
  p = p * q + 2.0 / 17.0;
  p = p * q + 2.0 / 15.0;
  p = p * q + 2.0 / 13.0;
  p = p * q + 2.0 / 11.0;
  p = p * q + 2.0 / 9.0;
  p = p * q + 2.0 / 7.0;
  p = p * q + 2.0 / 5.0;
  p = p * q + 2.0 / 3.0;
  p = p * q + 2.0;
  return static_cast<float>(static_cast<double>(n) * 0.69314718055994530942 + p * s);
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// The arithmetic of the numeric contract (docs/numerics.md) for one value: the same operations in
// the same order as a lane of kernels/cpu/. Each function here is one IEEE 754 operation, named so
// that no compiler contracts or reorders it.
#pragma once

#include "kernels/cuda/portable.h"
#include "kernels/element.h"

namespace zeroth::kernels::cuda {

#if defined(__CUDACC__)
ZEROTH_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
ZEROTH_DEVICE float sub(float a, float b) { return __fsub_rn(a, b); }
ZEROTH_DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
ZEROTH_DEVICE float div(float a, float b) { return __fdiv_rn(a, b); }
ZEROTH_DEVICE float root(float a) { return __fsqrt_rn(a); }
ZEROTH_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
ZEROTH_DEVICE double add(double a, double b) { return __dadd_rn(a, b); }
ZEROTH_DEVICE double sub(double a, double b) { return __dsub_rn(a, b); }
ZEROTH_DEVICE double mul(double a, double b) { return __dmul_rn(a, b); }
ZEROTH_DEVICE double div(double a, double b) { return __ddiv_rn(a, b); }
ZEROTH_DEVICE uint32_t bits_of(float x) { return __float_as_uint(x); }
ZEROTH_DEVICE float float_of(uint32_t bits) { return __uint_as_float(bits); }
ZEROTH_DEVICE int64_t bits_of(double x) { return __double_as_longlong(x); }
ZEROTH_DEVICE double double_of(int64_t bits) { return __longlong_as_double(bits); }
ZEROTH_DEVICE double to_integer(double x) { return ::rint(x); }
#else
ZEROTH_DEVICE float add(float a, float b) { return a + b; }
ZEROTH_DEVICE float sub(float a, float b) { return a - b; }
ZEROTH_DEVICE float mul(float a, float b) { return a * b; }
ZEROTH_DEVICE float div(float a, float b) { return a / b; }
ZEROTH_DEVICE float root(float a) { return __builtin_sqrtf(a); }
ZEROTH_DEVICE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
ZEROTH_DEVICE double add(double a, double b) { return a + b; }
ZEROTH_DEVICE double sub(double a, double b) { return a - b; }
ZEROTH_DEVICE double mul(double a, double b) { return a * b; }
ZEROTH_DEVICE double div(double a, double b) { return a / b; }
ZEROTH_DEVICE uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof(x));
  return bits;
}
ZEROTH_DEVICE float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}
ZEROTH_DEVICE int64_t bits_of(double x) {
  int64_t bits;
  __builtin_memcpy(&bits, &x, sizeof(x));
  return bits;
}
ZEROTH_DEVICE double double_of(int64_t bits) {
  double x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return x;
}
ZEROTH_DEVICE double to_integer(double x) { return __builtin_nearbyint(x); }
#endif

ZEROTH_DEVICE float infinity() { return float_of(0x7f800000u); }
// The second one where they are equal or one is NaN, as in the vector instructions.
ZEROTH_DEVICE float larger(float a, float b) { return a > b ? a : b; }
ZEROTH_DEVICE float smaller(float a, float b) { return a < b ? a : b; }

ZEROTH_DEVICE float widen(float x) { return x; }
ZEROTH_DEVICE float widen(Bfloat16 x) { return float_of(static_cast<uint32_t>(x) << 16); }
// To nearest even; NaN stays NaN.
ZEROTH_DEVICE Bfloat16 narrow(float x) {
  const uint32_t bits = bits_of(x);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return static_cast<Bfloat16>(nan ? bits >> 16 | 0x40u
                                   : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// exp of x <= 88.8; how: kernels/cpu/math.h.
ZEROTH_DEVICE float exp_bounded(float x) {
  const float magic = 12582912.0f;
  x = larger(-88.0f, x);
  const float shifted = fma(x, 1.44269504088896341f, magic);
  const float n = sub(shifted, magic);
  float r = fma(-n, 0.693145751953125f, x);
  r = fma(-n, 1.42860677e-6f, r);
  float p = 1.38637563e-3f;
  p = fma(p, r, 8.36750958e-3f);
  p = fma(p, r, 4.16672379e-2f);
  p = fma(p, r, 1.66665345e-1f);
  p = fma(p, r, 0.5f);
  p = fma(p, r, 1.0f);
  p = fma(p, r, 1.0f);
  return mul(p, float_of((bits_of(shifted) << 23) + 0x3f800000u));
}
ZEROTH_DEVICE float exp(float x) { return exp_bounded(smaller(88.8f, x)); }
ZEROTH_DEVICE float one_plus_exp_minus(float x) { return add(1.0f, exp(sub(0.0f, x))); }
ZEROTH_DEVICE float sigmoid(float x) { return div(1.0f, one_plus_exp_minus(x)); }
// The tanh form of GELU is x / (1 + exp(-u)) of this u; and x du/dx.
ZEROTH_DEVICE float gelu_inner(float x) {
  return mul(fma(mul(x, x), 0x1.2444f2p-4f, 0x1.988454p+0f), x);
}
ZEROTH_DEVICE float gelu_inner_slope(float x) {
  return mul(fma(mul(x, x), 3 * 0x1.2444f2p-4f, 0x1.988454p+0f), x);
}

// Of a positive normal float, once per row; how: kernels/cpu/math.h.
ZEROTH_DEVICE float log(float x) {
  int64_t bits = bits_of(static_cast<double>(x));
  int64_t n = static_cast<int64_t>(static_cast<uint64_t>(bits) >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffll) | 0x3ff0000000000000ll;
  double m = double_of(bits);
  if (m > 1.4142135623730951) {
    m = mul(m, 0.5);
    n = n + 1;
  }
  const double s = div(sub(m, 1.0), add(m, 1.0));
  const double q = mul(s, s);
  double p = 2.0 / 19.0;
  p = add(mul(p, q), 2.0 / 17.0);
  p = add(mul(p, q), 2.0 / 15.0);
  p = add(mul(p, q), 2.0 / 13.0);
  p = add(mul(p, q), 2.0 / 11.0);
  p = add(mul(p, q), 2.0 / 9.0);
  p = add(mul(p, q), 2.0 / 7.0);
  p = add(mul(p, q), 2.0 / 5.0);
  p = add(mul(p, q), 2.0 / 3.0);
  p = add(mul(p, q), 2.0);
  return static_cast<float>(add(mul(static_cast<double>(n), 0.69314718055994530942), mul(p, s)));
}

// --- sixteen lanes: the threads of half a warp. All lanes of the warp call these together.
inline constexpr int kLanes = 16;

// The tree: lane i + lane i + 8, then 4, 2, 1; every lane gets the sum.
ZEROTH_DEVICE float sum_lanes(float x) {
  x = add(x, __shfl_xor_sync(kAllLanes, x, 8));
  x = add(x, __shfl_xor_sync(kAllLanes, x, 4));
  x = add(x, __shfl_xor_sync(kAllLanes, x, 2));
  return add(x, __shfl_xor_sync(kAllLanes, x, 1));
}
// x must not be NaN in any lane.
ZEROTH_DEVICE float largest_lane(float x) {
  for (int step = kLanes / 2; step > 0; step /= 2) {
    x = larger(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}
// (chains of accumulators 0 + 1) + (2 + 3), then the tree. A warp holds the four accumulators of
// sixteen lanes: thread t has chain t (accumulator t / 16) in `low` and chain t + 32 in `high`.
ZEROTH_DEVICE float sum_chains(float low, float high) {
  low = add(low, __shfl_xor_sync(kAllLanes, low, 16));
  high = add(high, __shfl_xor_sync(kAllLanes, high, 16));
  return sum_lanes(add(low, high));
}

// <a, b> in a row's order (kernels/cpu/rows.h: dot_row), for every lane of the warp that calls it.
ZEROTH_DEVICE float warp_dot(const float* a, const float* b, int64_t n) {
  float low = 0.0f, high = 0.0f;
  const int64_t lane = threadIdx.x % kWarp, padded = (n + kLanes - 1) / kLanes * kLanes;
  for (int64_t e = lane; e < padded; e += 64) {
    low = fma(e < n ? a[e] : 0.0f, e < n ? b[e] : 0.0f, low);
  }
  for (int64_t e = lane + kWarp; e < padded; e += 64) {
    high = fma(e < n ? a[e] : 0.0f, e < n ? b[e] : 0.0f, high);
  }
  return __shfl_sync(kAllLanes, sum_chains(low, high), 0);
}

ZEROTH_DEVICE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace zeroth::kernels::cuda

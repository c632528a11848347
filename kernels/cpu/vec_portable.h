// The sixteen lanes of vec.h as an array, for any processor. Included by it alone.
#pragma once

#include "kernels/cpu/vec.h"

namespace zeroth::kernels::portable {

inline constexpr int kMaxAccumulators = 4;

struct Vec {
  float v[kLanes];
};
struct Bits {
  int32_t v[kLanes];
};
struct Mask {
  int lo, hi;
};

template <class F>
ZEROTH_INLINE Vec each(F f) {
  Vec r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = f(i);
  return r;
}
template <class F>
ZEROTH_INLINE Bits each_bits(F f) {
  Bits r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = f(i);
  return r;
}

ZEROTH_INLINE Vec splat(float x) {
  return each([&](int) { return x; });
}
ZEROTH_INLINE Vec load(const float* p) {
  return each([&](int i) { return p[i]; });
}
ZEROTH_INLINE void store(float* p, Vec a) {
  for (int i = 0; i < kLanes; ++i) p[i] = a.v[i];
}
ZEROTH_INLINE Vec load(const Bfloat16* p) {
  return each([&](int i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    float x;
    __builtin_memcpy(&x, &bits, sizeof(x));
    return x;
  });
}
ZEROTH_INLINE void store(Bfloat16* p, Vec a) {
  for (int i = 0; i < kLanes; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &a.v[i], sizeof(bits));
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    p[i] = static_cast<Bfloat16>(nan ? bits >> 16 | 0x40u
                                     : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
  }
}
ZEROTH_INLINE Mask first(int n) { return {0, n}; }
ZEROTH_INLINE Mask between(int lo, int hi) { return {lo, hi}; }
ZEROTH_INLINE Vec load_masked(const float* p, Mask m) {
  return each([&](int i) { return i >= m.lo && i < m.hi ? p[i] : 0.0f; });
}
ZEROTH_INLINE void store_masked(float* p, Vec a, Mask m) {
  for (int i = m.lo; i < m.hi; ++i) p[i] = a.v[i];
}
ZEROTH_INLINE Vec add(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
ZEROTH_INLINE Vec sub(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
ZEROTH_INLINE Vec mul(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
ZEROTH_INLINE Vec div(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
ZEROTH_INLINE Vec root(Vec a) {
  return each([&](int i) { return __builtin_sqrtf(a.v[i]); });
}
ZEROTH_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
ZEROTH_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return each([&](int i) { return __builtin_fmaf(-a.v[i], b.v[i], c.v[i]); });
}
ZEROTH_INLINE Vec larger(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
ZEROTH_INLINE Vec smaller(Vec a, Vec b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
ZEROTH_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return each([&](int i) { return i >= m.lo && i < m.hi ? yes.v[i] : no.v[i]; });
}
ZEROTH_INLINE Bits bits_of(Vec a) {
  Bits r;
  __builtin_memcpy(r.v, a.v, sizeof(r.v));
  return r;
}
ZEROTH_INLINE Vec vec_of(Bits a) {
  Vec r;
  __builtin_memcpy(r.v, a.v, sizeof(r.v));
  return r;
}
ZEROTH_INLINE Bits splat_bits(int32_t x) {
  return each_bits([&](int) { return x; });
}
// Unsigned arithmetic: bits wrap around as in the vector instructions.
ZEROTH_INLINE Bits add(Bits a, Bits b) {
  return each_bits([&](int i) {
    return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) + static_cast<uint32_t>(b.v[i]));
  });
}
template <int kBits>
ZEROTH_INLINE Bits shift_left(Bits a) {
  return each_bits(
      [&](int i) { return static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << kBits); });
}
ZEROTH_INLINE float sum_lanes(Vec a) {
  for (int step = 8; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) a.v[i] = a.v[i] + a.v[i + step];
  return a.v[0];
}
ZEROTH_INLINE float largest_lane(Vec a) {
  for (int step = 8; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) a.v[i] = a.v[i] > a.v[i + step] ? a.v[i] : a.v[i + step];
  return a.v[0];
}

}  // namespace zeroth::kernels::portable

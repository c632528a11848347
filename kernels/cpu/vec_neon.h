// The sixteen lanes of vec.h as four NEON registers of aarch64. Included by it alone.
#pragma once

#include <arm_neon.h>

#include "kernels/cpu/vec.h"

namespace zeroth::kernels::neon {

// 32 registers of four lanes: 24 of accumulators, 4 of a row of B, and a broadcast.
inline constexpr int kMaxAccumulators = 6;
inline constexpr int kQuads = 4;

struct Vec {
  float32x4_t q[kQuads];
};
struct Bits {
  int32x4_t q[kQuads];
};
// Lanes [lo, hi): the instruction set has no masked loads, so memory is asked lane by lane where a
// quad is cut.
struct Mask {
  int lo, hi;
};

template <class V = Vec, class F>
ZEROTH_INLINE V each(F f) {
  return {{f(0), f(1), f(2), f(3)}};
}

ZEROTH_INLINE Vec splat(float x) {
  return each([&](int) ZEROTH_INLINED { return vdupq_n_f32(x); });
}
ZEROTH_INLINE Vec load(const float* p) {
  return each([&](int i) ZEROTH_INLINED { return vld1q_f32(p + 4 * i); });
}
ZEROTH_INLINE void store(float* p, Vec a) {
  for (int i = 0; i < kQuads; ++i) vst1q_f32(p + 4 * i, a.q[i]);
}
// A bfloat16 is the upper half of its float: zeros go between.
ZEROTH_INLINE Vec load(const Bfloat16* p) {
  const uint16x8_t zero = vdupq_n_u16(0), low = vld1q_u16(p), high = vld1q_u16(p + 8);
  return {{vreinterpretq_f32_u16(vzip1q_u16(zero, low)),
           vreinterpretq_f32_u16(vzip2q_u16(zero, low)),
           vreinterpretq_f32_u16(vzip1q_u16(zero, high)),
           vreinterpretq_f32_u16(vzip2q_u16(zero, high))}};
}
ZEROTH_INLINE uint16x4_t narrow_four(float32x4_t a) {
  const uint32x4_t bits = vreinterpretq_u32_f32(a);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(a, a), rounded, quiet), 16);
}
ZEROTH_INLINE void store(Bfloat16* p, Vec a) {
  vst1q_u16(p, vcombine_u16(narrow_four(a.q[0]), narrow_four(a.q[1])));
  vst1q_u16(p + 8, vcombine_u16(narrow_four(a.q[2]), narrow_four(a.q[3])));
}
ZEROTH_INLINE Mask first(int n) { return {0, n}; }
ZEROTH_INLINE Mask between(int lo, int hi) { return {lo, hi}; }
ZEROTH_INLINE Vec load_masked(const float* p, Mask m) {
  return each([&](int i) ZEROTH_INLINED {
    const int begin = 4 * i;
    if (m.lo <= begin && m.hi >= begin + 4) return vld1q_f32(p + begin);
    float lanes[4] = {};
    for (int j = begin; j < begin + 4; ++j)
      if (j >= m.lo && j < m.hi) lanes[j - begin] = p[j];
    return vld1q_f32(lanes);
  });
}
ZEROTH_INLINE void store_masked(float* p, Vec a, Mask m) {
  for (int i = 0; i < kQuads; ++i) {
    const int begin = 4 * i;
    if (m.lo <= begin && m.hi >= begin + 4) {
      vst1q_f32(p + begin, a.q[i]);
    } else {
      for (int j = begin; j < begin + 4; ++j)
        if (j >= m.lo && j < m.hi) p[j] = a.q[i][j - begin];
    }
  }
}
ZEROTH_INLINE Vec add(Vec a, Vec b) {
  return each([&](int i) ZEROTH_INLINED { return vaddq_f32(a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec sub(Vec a, Vec b) {
  return each([&](int i) ZEROTH_INLINED { return vsubq_f32(a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec mul(Vec a, Vec b) {
  return each([&](int i) ZEROTH_INLINED { return vmulq_f32(a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec div(Vec a, Vec b) {
  return each([&](int i) ZEROTH_INLINED { return vdivq_f32(a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec root(Vec a) {
  return each([&](int i) ZEROTH_INLINED { return vsqrtq_f32(a.q[i]); });
}
ZEROTH_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return each([&](int i) ZEROTH_INLINED { return vfmaq_f32(c.q[i], a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return each([&](int i) ZEROTH_INLINED { return vfmsq_f32(c.q[i], a.q[i], b.q[i]); });
}
// The instruction set's own maximum and minimum order zeros and prefer NaN: not these.
ZEROTH_INLINE float32x4_t larger_four(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
ZEROTH_INLINE Vec larger(Vec a, Vec b) {
  return each([&](int i) ZEROTH_INLINED { return larger_four(a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec smaller(Vec a, Vec b) {
  return each([&](int i)
                  ZEROTH_INLINED { return vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]); });
}
ZEROTH_INLINE Vec select(Mask m, Vec yes, Vec no) {
  const int32x4_t lo = vdupq_n_s32(m.lo), hi = vdupq_n_s32(m.hi);
  const int32_t ascending[4] = {0, 1, 2, 3};
  const int32x4_t index = vld1q_s32(ascending);
  return each([&](int i) ZEROTH_INLINED {
    const int32x4_t lane = vaddq_s32(index, vdupq_n_s32(4 * i));
    const uint32x4_t in = vandq_u32(vcgeq_s32(lane, lo), vcltq_s32(lane, hi));
    return vbslq_f32(in, yes.q[i], no.q[i]);
  });
}
ZEROTH_INLINE Bits bits_of(Vec a) {
  return each<Bits>([&](int i) ZEROTH_INLINED { return vreinterpretq_s32_f32(a.q[i]); });
}
ZEROTH_INLINE Vec vec_of(Bits a) {
  return each([&](int i) ZEROTH_INLINED { return vreinterpretq_f32_s32(a.q[i]); });
}
ZEROTH_INLINE Bits splat_bits(int32_t x) {
  return each<Bits>([&](int) ZEROTH_INLINED { return vdupq_n_s32(x); });
}
ZEROTH_INLINE Bits add(Bits a, Bits b) {
  return each<Bits>([&](int i) ZEROTH_INLINED { return vaddq_s32(a.q[i], b.q[i]); });
}
template <int kBits>
ZEROTH_INLINE Bits shift_left(Bits a) {
  return each<Bits>([&](int i) ZEROTH_INLINED { return vshlq_n_s32(a.q[i], kBits); });
}
ZEROTH_INLINE float sum_lanes(Vec a) {
  const float32x4_t x = vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
  return vpadds_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)));
}
ZEROTH_INLINE float largest_lane(Vec a) {
  const float32x4_t x = larger_four(larger_four(a.q[0], a.q[2]), larger_four(a.q[1], a.q[3]));
  const float32x4_t y = larger_four(x, vextq_f32(x, x, 2));
  return vgetq_lane_f32(larger_four(y, vextq_f32(y, y, 1)), 0);
}

}  // namespace zeroth::kernels::neon

// The sixteen lanes of vec.h as one AVX-512 register. Included by it alone.
#pragma once

#include <immintrin.h>

#include "kernels/cpu/vec.h"

namespace zeroth::kernels::avx512 {

// Accumulator vectors that fit in the registers beside one row of B and a broadcast.
inline constexpr int kMaxAccumulators = 24;

struct Vec {
  __m512 v;
};
struct Bits {
  __m512i v;
};
struct Mask {
  __mmask16 m;
};

ZEROTH_INLINE Vec splat(float x) { return {_mm512_set1_ps(x)}; }
ZEROTH_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
ZEROTH_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a.v); }
ZEROTH_INLINE Vec load(const Bfloat16* p) {
  const __m512i low =
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(low, 16))};
}
ZEROTH_INLINE void store(Bfloat16* p, Vec a) {
  const __m512i bits = _mm512_castps_si512(a.v), high = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
  const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet)));
}
// Lanes [0, n).
ZEROTH_INLINE Mask first(int n) { return {static_cast<__mmask16>((1u << n) - 1)}; }
// Lanes [lo, hi), 0 <= lo <= hi <= 16.
ZEROTH_INLINE Mask between(int lo, int hi) {
  return {static_cast<__mmask16>(((1u << hi) - 1) & ~((1u << lo) - 1))};
}
// Other lanes are +0 and their memory is not read.
ZEROTH_INLINE Vec load_masked(const float* p, Mask m) { return {_mm512_maskz_loadu_ps(m.m, p)}; }
ZEROTH_INLINE void store_masked(float* p, Vec a, Mask m) { _mm512_mask_storeu_ps(p, m.m, a.v); }
ZEROTH_INLINE Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
ZEROTH_INLINE Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
ZEROTH_INLINE Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
ZEROTH_INLINE Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
ZEROTH_INLINE Vec root(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
ZEROTH_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
ZEROTH_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b per lane; the second operand wins ties and NaN.
ZEROTH_INLINE Vec larger(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
ZEROTH_INLINE Vec smaller(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
ZEROTH_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {_mm512_mask_blend_ps(m.m, no.v, yes.v)};
}
ZEROTH_INLINE Bits bits_of(Vec a) { return {_mm512_castps_si512(a.v)}; }
ZEROTH_INLINE Vec vec_of(Bits a) { return {_mm512_castsi512_ps(a.v)}; }
ZEROTH_INLINE Bits splat_bits(int32_t x) { return {_mm512_set1_epi32(x)}; }
ZEROTH_INLINE Bits add(Bits a, Bits b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int kBits>
ZEROTH_INLINE Bits shift_left(Bits a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
// Tree: lane i with i + 8, then i + 4, i + 2, i + 1.
ZEROTH_INLINE float sum_lanes(Vec a) {
  const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
ZEROTH_INLINE float largest_lane(Vec a) {
  const __m256 y = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

}  // namespace zeroth::kernels::avx512

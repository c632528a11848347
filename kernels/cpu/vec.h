// Sixteen float lanes: the one vector type that every kernel is written over. Included once per
// instruction set, with ZEROTH_VEC_AVX512, ZEROTH_VEC_AVX2 or neither (portable) defined, into a
// namespace of its own.
//
// Every function is one IEEE 754 operation per lane (round to nearest even, denormals kept), so the
// three versions give the same bits. Nothing of the standard library's templates may be used here:
// an inline function of it compiled with AVX-512 could be the copy that the linker keeps for the
// whole program.
#pragma once

#include <stdint.h>

#if defined(ZEROTH_VEC_AVX512) || defined(ZEROTH_VEC_AVX2)
#include <immintrin.h>
#endif

#if defined(ZEROTH_VEC_AVX512)
#define ZEROTH_VEC_NAMESPACE avx512
#elif defined(ZEROTH_VEC_AVX2)
#define ZEROTH_VEC_NAMESPACE avx2
#else
#define ZEROTH_VEC_NAMESPACE portable
#endif

#define ZEROTH_INLINE inline __attribute__((always_inline))
#define ZEROTH_INLINED __attribute__((always_inline))  // the same behind a lambda's parameters

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

inline constexpr int kLanes = 16;

template <int kIndex>
struct Index {
  ZEROTH_INLINE constexpr operator int() const { return kIndex; }
};
// f(Index<0>()), ..., f(Index<kCount - 1>()), f and what it calls being ZEROTH_INLINED. The indices
// are constants before the compiler looks for arrays to keep in registers; loops with a pragma are
// unrolled later, and then a change elsewhere in a function can leave its accumulators in memory,
// at a third of the speed.
template <int kCount, int kFirst = 0, class F>
ZEROTH_INLINE void unrolled(const F& f) {
  if constexpr (kFirst < kCount) {
    f(Index<kFirst>());
    unrolled<kCount, kFirst + 1>(f);
  }
}

#if defined(ZEROTH_VEC_AVX512)

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

#elif defined(ZEROTH_VEC_AVX2)

inline constexpr int kMaxAccumulators = 6;

struct Vec {
  __m256 lo, hi;
};
struct Bits {
  __m256i lo, hi;
};
struct Mask {
  __m256i lo, hi;
};

ZEROTH_INLINE Vec splat(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
ZEROTH_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
ZEROTH_INLINE void store(float* p, Vec a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
ZEROTH_INLINE Mask between(int lo, int hi) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i high = _mm256_add_epi32(index, _mm256_set1_epi32(8));
  const __m256i l = _mm256_set1_epi32(lo - 1), h = _mm256_set1_epi32(hi);
  return {_mm256_and_si256(_mm256_cmpgt_epi32(index, l), _mm256_cmpgt_epi32(h, index)),
          _mm256_and_si256(_mm256_cmpgt_epi32(high, l), _mm256_cmpgt_epi32(h, high))};
}
ZEROTH_INLINE Mask first(int n) { return between(0, n); }
ZEROTH_INLINE Vec load_masked(const float* p, Mask m) {
  return {_mm256_maskload_ps(p, m.lo), _mm256_maskload_ps(p + 8, m.hi)};
}
ZEROTH_INLINE void store_masked(float* p, Vec a, Mask m) {
  _mm256_maskstore_ps(p, m.lo, a.lo);
  _mm256_maskstore_ps(p + 8, m.hi, a.hi);
}
ZEROTH_INLINE Vec add(Vec a, Vec b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
ZEROTH_INLINE Vec sub(Vec a, Vec b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
ZEROTH_INLINE Vec mul(Vec a, Vec b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
ZEROTH_INLINE Vec div(Vec a, Vec b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
ZEROTH_INLINE Vec root(Vec a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
ZEROTH_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
ZEROTH_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
ZEROTH_INLINE Vec larger(Vec a, Vec b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
ZEROTH_INLINE Vec smaller(Vec a, Vec b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
ZEROTH_INLINE Vec select(Mask m, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_castsi256_ps(m.lo)),
          _mm256_blendv_ps(no.hi, yes.hi, _mm256_castsi256_ps(m.hi))};
}
ZEROTH_INLINE Bits bits_of(Vec a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
ZEROTH_INLINE Vec vec_of(Bits a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
ZEROTH_INLINE Bits splat_bits(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
ZEROTH_INLINE Bits add(Bits a, Bits b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
template <int kBits>
ZEROTH_INLINE Bits shift_left(Bits a) {
  return {_mm256_slli_epi32(a.lo, kBits), _mm256_slli_epi32(a.hi, kBits)};
}
ZEROTH_INLINE float sum_lanes(Vec a) {
  const __m256 y = _mm256_add_ps(a.lo, a.hi);
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}
ZEROTH_INLINE float largest_lane(Vec a) {
  const __m256 y = _mm256_max_ps(a.lo, a.hi);
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
}

#else

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

#endif

ZEROTH_INLINE Vec load_first(const float* p, int n) { return load_masked(p, first(n)); }
ZEROTH_INLINE void store_first(float* p, Vec a, int n) { store_masked(p, a, first(n)); }

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

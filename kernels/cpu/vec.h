// Sixteen float lanes: the one vector type that every kernel is written over. Included once per
// instruction set, with ZEROTH_VEC_AVX512, ZEROTH_VEC_AVX2, ZEROTH_VEC_NEON or none of them
// (portable) defined, into a namespace of its own.
//
// Every function is one IEEE 754 operation per lane (round to nearest even, denormals kept), so the
// versions give the same bits. load() widens bfloat16 exactly, store() rounds to it (to
// nearest even; NaN stays NaN). Nothing of the standard library's templates may be used here: an
// inline function of it compiled with AVX-512 could be the copy that the linker keeps for the whole
// program.
#pragma once

#include <stdint.h>

#include "kernels/cpu/inline.h"
#include "kernels/element.h"

#if defined(ZEROTH_VEC_AVX512)
#define ZEROTH_VEC_NAMESPACE avx512
#elif defined(ZEROTH_VEC_AVX2)
#define ZEROTH_VEC_NAMESPACE avx2
#elif defined(ZEROTH_VEC_NEON)
#define ZEROTH_VEC_NAMESPACE neon
#else
#define ZEROTH_VEC_NAMESPACE portable
#endif

#define ZEROTH_INLINED __attribute__((always_inline))  // ZEROTH_INLINE behind a lambda's parameters

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

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

#if defined(ZEROTH_VEC_AVX512)
#include "kernels/cpu/vec_avx512.h"
#elif defined(ZEROTH_VEC_AVX2)
#include "kernels/cpu/vec_avx2.h"
#elif defined(ZEROTH_VEC_NEON)
#include "kernels/cpu/vec_neon.h"
#else
#include "kernels/cpu/vec_portable.h"
#endif

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

ZEROTH_INLINE Vec load_first(const float* p, int n) { return load_masked(p, first(n)); }
ZEROTH_INLINE void store_first(float* p, Vec a, int n) { store_masked(p, a, first(n)); }

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// The two loops that measure what this core can do (kernels/limits.h).
#pragma once

#include "kernels/cpu/table.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

inline float fma_loop(int64_t iterations) {
  constexpr int kChains = kMaxAccumulators >= 12 ? 12 : kMaxAccumulators;
  Vec acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = splat(static_cast<float>(i));
  const Vec a = splat(0.999f), b = splat(0.001f);
  static_assert(kFmaLoopVectors % kChains == 0);
  for (int64_t n = 0; n < iterations; ++n)
#pragma GCC unroll 24
    for (int j = 0; j < kFmaLoopVectors / kChains; ++j)
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
  Vec sum = acc[0];
  for (int i = 1; i < kChains; ++i) sum = add(sum, acc[i]);
  return sum_lanes(sum);
}

inline float read_loop(const float* x, int64_t n) {
  Vec acc[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  for (int64_t i = 0; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[j] = add(acc[j], load(x + i + j * kLanes));
  return sum_lanes(add(add(acc[0], acc[1]), add(acc[2], acc[3])));
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

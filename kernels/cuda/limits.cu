#include "kernels/cuda/limits.h"

#include "kernels/cuda/arithmetic.cuh"

namespace zeroth::kernels::cuda {
namespace {

ZEROTH_DEVICE int64_t thread_of_grid() {
  return static_cast<int64_t>(blockIdx.x) * kLimitThreads + threadIdx.x;
}

__global__ void __launch_bounds__(kLimitThreads) fma_loop_kernel(int64_t iterations, float* out) {
  float chain[kFmaChains];
  ZEROTH_UNROLL
  for (int i = 0; i < kFmaChains; ++i) chain[i] = static_cast<float>(i);
  const float factor = iterations > 0 ? 0.5f : 1.0f;  // none that the compiler knows
  ZEROTH_UNROLL_ONCE
  for (int64_t n = 0; n < iterations; ++n) {
    ZEROTH_UNROLL
    for (int i = 0; i < kFmaChains; ++i) chain[i] = fma(chain[i], factor, 1.0f);
  }
  float sum = 0.0f;
  ZEROTH_UNROLL
  for (int i = 0; i < kFmaChains; ++i) sum = add(sum, chain[i]);
  out[thread_of_grid()] = sum;
}

__global__ void __launch_bounds__(kLimitThreads)
    read_loop_kernel(const float* x, int64_t n, float* out) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kLimitThreads * 4;
  float sum = 0.0f;
  for (int64_t i = thread_of_grid() * 4; i < n; i += step) {
    const float4 v = load_four(x + i);
    sum = add(sum, add(add(v.x, v.y), add(v.z, v.w)));
  }
  out[thread_of_grid()] = sum;
}

}  // namespace

void fma_loop(Stream stream, int64_t blocks, int64_t iterations, float* out) {
  launch(stream, fma_loop_kernel, {blocks}, kLimitThreads, 0, iterations, out);
}

void read_loop(Stream stream, int64_t blocks, const float* x, int64_t n, float* out) {
  launch(stream, read_loop_kernel, {blocks}, kLimitThreads, 0, x, n, out);
}

}  // namespace zeroth::kernels::cuda

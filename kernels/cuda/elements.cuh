// Kernels in which a thread has one element, and nothing is summed.
#pragma once

#include "kernels/cuda/arithmetic.cuh"

namespace zeroth::kernels::cuda {

inline constexpr int kThreads = 256;

// Blocks for n elements, and the element of this thread: it may be n or more.
inline Grid blocks(int64_t n) { return {(n + kThreads - 1) / kThreads}; }
ZEROTH_DEVICE int64_t element() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

}  // namespace zeroth::kernels::cuda

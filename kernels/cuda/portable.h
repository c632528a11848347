// One text for nvcc and for g++: what kernels and their launches need of CUDA. Under g++ every
// thread is a fiber (kernels/cuda/fibers/), and each access is checked.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>
#else
#include "kernels/cuda/fibers/cuda.h"
#include "kernels/cuda/fibers/runtime.h"
#endif

#include "kernels/cuda/stream.h"

#define ZEROTH_DEVICE __device__ __forceinline__

// The dynamic shared memory of a block, which is the only one that kernels use, as T*.
#if defined(__CUDACC__)
#define ZEROTH_SHARED(T, name)                                  \
  extern __shared__ __align__(16) char zeroth_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(zeroth_dynamic_shared)
#define ZEROTH_UNROLL _Pragma("unroll")
#define ZEROTH_UNROLL_ONCE _Pragma("unroll 1")
#else
#define ZEROTH_SHARED(T, name) \
  T* const name = reinterpret_cast<T*>(::zeroth::fibers::shared_memory())
#define ZEROTH_UNROLL
#define ZEROTH_UNROLL_ONCE
#endif

namespace zeroth::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr uint32_t kAllLanes = 0xffffffffu;
inline constexpr size_t kMostShared = 227 * 1024;  // bytes of a block on sm_90

struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

// Throws Error: the device refused a launch with this cudaError_t (gpu_call.cu).
[[noreturn]] void refuse_launch(int error);

// Starts the kernel on the stream; a grid with nothing in it starts nothing. Throws Error when the
// device refuses the launch.
template <class... P, class... A>
void launch(Stream stream, void (*kernel)(P...), Grid grid, int threads, size_t shared_bytes,
            const A&... a) {
  if (grid.x <= 0 || grid.y <= 0 || grid.z <= 0) return;
  const auto x = static_cast<unsigned>(grid.x), y = static_cast<unsigned>(grid.y),
             z = static_cast<unsigned>(grid.z);
#if defined(__CUDACC__)
  cudaError_t error = cudaSuccess;
  if (shared_bytes > 48 * 1024) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes));
  }
  if (error == cudaSuccess) {
    kernel<<<dim3(x, y, z), threads, shared_bytes, stream>>>(static_cast<P>(a)...);
    error = cudaGetLastError();
  }
  if (error != cudaSuccess) refuse_launch(error);
#else
  auto work =
      fibers::launch_of(kernel, {x, y, z}, static_cast<unsigned>(threads), shared_bytes, a...);
  if (stream) {
    fibers::enqueue(stream, std::move(work));
  } else {
    work();
  }
#endif
}

// --- vectors: of 16 bytes, or of 8

ZEROTH_DEVICE float4 load_four(const float* p) {
#if !defined(__CUDACC__)
  fibers::check_alignment(p, 16);
#endif
  return *reinterpret_cast<const float4*>(p);
}
ZEROTH_DEVICE void store_four(float* p, const float4& v) {
#if !defined(__CUDACC__)
  fibers::check_alignment(p, 16);
#endif
  *reinterpret_cast<float4*>(p) = v;
}
ZEROTH_DEVICE uint4 load_eight(const uint16_t* p) {
#if !defined(__CUDACC__)
  fibers::check_alignment(p, 16);
#endif
  return *reinterpret_cast<const uint4*>(p);
}
ZEROTH_DEVICE uint2 load_four(const uint16_t* p) {
#if !defined(__CUDACC__)
  fibers::check_alignment(p, 8);
#endif
  return *reinterpret_cast<const uint2*>(p);
}

}  // namespace zeroth::kernels::cuda

// The CUDA runtime for the back end's host side (gpu_*.cu), which has no kernels and is compiled as
// C++: NVIDIA's where the kernels come from nvcc (ZEROTH_NVIDIA, cmake/ZerothCuda.cmake), else a
// stand-in over fibers (kernels/cuda/fibers/runtime.h).
#pragma once

#if defined(ZEROTH_NVIDIA)
#include <cuda_runtime_api.h>
#else
#include "kernels/cuda/fibers/runtime.h"
#endif

#include "kernels/cuda/stream.h"

namespace zeroth::kernels::cuda {

// Bytes behind an array that no array has: over fibers, where what is written past an end is found.
#if defined(ZEROTH_NVIDIA)
inline constexpr size_t kBehindArray = 0;
inline void retire(Stream, void*, size_t) {}
inline void renew(Stream, void*, size_t) {}
#else
inline constexpr size_t kBehindArray = 512;
// What the cache of blocks does with memory that the runtime gave it, for the watch on accesses.
using fibers::renew;
using fibers::retire;
#endif

}  // namespace zeroth::kernels::cuda

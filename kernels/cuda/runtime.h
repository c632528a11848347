// The CUDA runtime for the back end: NVIDIA's under nvcc, a stand-in over fibers under g++
// (kernels/cuda/fibers/runtime.h).
#pragma once

#include "kernels/cuda/portable.h"

namespace zeroth::kernels::cuda {

// Bytes behind an array that no array has: over fibers, where what is written past an end is found.
#if defined(__CUDACC__)
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

// What a GPU can do at most: loops that its limits are measured with (kernels/limits.h).
#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"

namespace zeroth::kernels::cuda {

inline constexpr int kLimitThreads = 256;  // of a block
inline constexpr int kFmaChains = 16;      // of a thread

// Every thread of `blocks` blocks adds kFmaChains chains of so many fused multiply-adds, in
// registers; out [blocks * kLimitThreads].
void fma_loop(Stream stream, int64_t blocks, int64_t iterations, float* out);
// Reads x [n] once, n a multiple of 4, and x at a multiple of 16 bytes; out [blocks *
// kLimitThreads] becomes sums of it.
void read_loop(Stream stream, int64_t blocks, const float* x, int64_t n, float* out);

}  // namespace zeroth::kernels::cuda

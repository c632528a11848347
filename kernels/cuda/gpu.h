// Who makes the operators of a GPU, and measures it; there only in builds with CUDA (cmake
// -DZEROTH_CUDA=ON).
#pragma once

#include <memory>
#include <string>

#include "kernels/operators.h"

namespace zeroth::kernels::cuda {

// kernels/cuda/gpu_operators.h. Throws Error where there is no driver, or no such GPU.
std::unique_ptr<const Operators> operators_of_gpu(int index);

// What its GPU does at most, measured: fused multiply-adds from registers, counted as two
// operations; reading from memory; and products of 4096^3 in float32 by linear(). In 10^9 a second.
// Blocks for about `seconds`; takes 2 GiB for the time of the call.
struct GpuLimits {
  double gflops = 0, read_gbs = 0, product_gflops = 0;
};
GpuLimits measure_limits(const Operators& ops, double seconds = 1);

// The same product by NVIDIA's cuBLAS in float32, as a baseline: 10^9 operations a second, or 0 where
// its library (by default libcublas.so.13, else .12) is not found. Nothing else of the program
// calls or needs it. Throws Error when the library is there and fails.
double cublas_gflops(const Operators& ops, double seconds = 0.3, const std::string& library = {});

}  // namespace zeroth::kernels::cuda

// Back ends by the names that commands and configs give them.
#pragma once

#include <string>

#include "kernels/limits.h"
#include "kernels/operators.h"

namespace zeroth::kernels {

// "cpu"; "cuda" or "cuda:N": GPU 0 or N of the machine (docs/cuda.md). Made when it is first asked
// for, then kept while the process lives. Thread safe. Throws Error: another name is a usage error;
// a build without CUDA, a machine without a driver and a GPU that is not there have failed.
const Operators& operators_on(const std::string& device);

// What the device can do at most (kernels/limits.h): of a GPU, from registers and from its memory,
// and float32 products of 4096^3 by linear(); cache_mb is 0 then.
struct DeviceLimits : Limits {
  double product_gflops = 0;  // 0: not measured
};
DeviceLimits limits_of(const std::string& device, double seconds = 0.6);
// That product by NVIDIA's cuBLAS, for comparison (kernels/cuda/gpu.h); 0: a CPU, or no cuBLAS.
double baseline_gflops(const std::string& device);

}  // namespace zeroth::kernels

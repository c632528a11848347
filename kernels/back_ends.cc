#include "kernels/back_ends.h"

#include <charconv>
#include <map>
#include <memory>
#include <mutex>

#include "core/error.h"
#include "kernels/cuda/gpu.h"

namespace zeroth::kernels {
namespace {

// The number of a GPU; "cuda" is the first one's.
int gpu_of(const std::string& device) {
  if (device == "cuda") return 0;
  int index = -1;
  if (device.rfind("cuda:", 0) == 0) {
    const char* const end = device.data() + device.size();
    const auto [at, error] = std::from_chars(device.data() + 5, end, index);
    if (error == std::errc() && at == end && index >= 0) return index;
  }
  fail_usage("there is no device \"" + device + "\"", "devices are cpu, cuda and cuda:N");
}

#if !defined(ZEROTH_CUDA)
std::unique_ptr<const Operators> no_gpu(const std::string& device) {
  fail("device \"" + device + "\": this zeroth was built without CUDA",
       "build it with scripts/setup --cuda (docs/cuda.md), or use the CPU: --device cpu");
}
#endif

}  // namespace

const Operators& operators_on(const std::string& device) {
  if (device == "cpu") return cpu_operators();
  const int index = gpu_of(device);
  // Never destroyed: arrays of other static objects may outlive this file's.
  static std::mutex& mutex = *new std::mutex;
  static auto& gpus = *new std::map<int, std::unique_ptr<const Operators>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<const Operators>& gpu = gpus[index];
#if defined(ZEROTH_CUDA)
  if (!gpu) gpu = cuda::operators_of_gpu(index);
#else
  if (!gpu) gpu = no_gpu(device);
#endif
  return *gpu;
}

DeviceLimits limits_of(const std::string& device, double seconds) {
  const Operators& ops = operators_on(device);
  DeviceLimits out;
  if (ops.device().in_host_memory()) {
    static_cast<Limits&>(out) = measure_limits(seconds);
    return out;
  }
#if defined(ZEROTH_CUDA)
  const cuda::GpuLimits gpu = cuda::measure_limits(ops, seconds);
  out.gflops = gpu.gflops;
  out.read_gbs = out.cache_gbs = gpu.read_gbs;
  out.product_gflops = gpu.product_gflops;
#endif
  return out;
}

double baseline_gflops(const std::string& device) {
  const Operators& ops = operators_on(device);
#if defined(ZEROTH_CUDA)
  if (!ops.device().in_host_memory()) return cuda::cublas_gflops(ops);
#endif
  static_cast<void>(ops);
  return 0;
}

}  // namespace zeroth::kernels

#include "kernels/cuda/limits.h"

#include <algorithm>
#include <chrono>

#include "kernels/cuda/arithmetic.cuh"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/gpu_operators.h"

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

using Clock = std::chrono::steady_clock;

// Best rate (work / second) of `round` within the time given, behind one that warms up.
template <class Round>
double best_rate(const GpuDevice& device, double seconds, double work, const Round& round) {
  double best = 0;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < 4 || std::chrono::duration<double>(Clock::now() - start).count() < seconds;
       ++i) {
    device.wait();
    const Clock::time_point begin = Clock::now();
    round();
    device.wait();
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    if (i > 0) best = std::max(best, work / took);
  }
  return best;
}

}  // namespace

void fma_loop(Stream stream, int64_t blocks, int64_t iterations, float* out) {
  launch(stream, fma_loop_kernel, {blocks}, kLimitThreads, 0, iterations, out);
}

void read_loop(Stream stream, int64_t blocks, const float* x, int64_t n, float* out) {
  launch(stream, read_loop_kernel, {blocks}, kLimitThreads, 0, x, n, out);
}

GpuLimits measure_limits(const Operators& ops, double seconds) {
  const auto& gpu = dynamic_cast<const GpuOperators&>(ops);
  const GpuDevice& device = gpu.device();
  constexpr int64_t kBlocks = 16'384, kIterations = 20'000;
  constexpr int64_t kFloats = int64_t{512} << 20;  // 2 GiB: no cache holds them
  constexpr int64_t kSide = 4096;
  GpuLimits limits;
  Array<float> out(device, kBlocks * kLimitThreads);
  limits.gflops = best_rate(device, seconds / 3,
                            2e-9 * kBlocks * kLimitThreads * kFmaChains * kIterations, [&] {
                              Call call(device);
                              fma_loop(call.stream(), kBlocks, kIterations, out.data().address());
                            });
  {
    Array<float> x(device, kFloats);
    clear(device, x.data(), kFloats);
    limits.read_gbs = best_rate(device, seconds / 3, 4e-9 * kFloats, [&] {
      Call call(device);
      read_loop(call.stream(), kBlocks, x.data().address(), kFloats, out.data().address());
    });
  }
  Array<float> x(device, kSide * kSide), y(device, kSide * kSide),
      panels(device, gpu.packed_floats(kSide, kSide, Element::kFloat32));
  clear(device, x.data(), kSide * kSide);
  clear(device, panels.data(), panels.bytes() / 4);
  PackedMatrix w;
  w.place(kSide, kSide, Element::kFloat32, panels.data());
  limits.product_gflops = best_rate(device, seconds / 3, 2e-9 * kSide * kSide * kSide, [&] {
    gpu.linear(x.data(), kSide, w, nullptr, y.data(), kSide, kSide, {});
  });
  return limits;
}

}  // namespace zeroth::kernels::cuda

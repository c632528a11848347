// What a GPU does at most, measured (kernels/cuda/gpu.h), with cuBLAS beside it.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "core/error.h"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/gpu_operators.h"
#include "kernels/cuda/limits.h"

namespace zeroth::kernels::cuda {
namespace {

#if defined(ZEROTH_NVIDIA)
constexpr int64_t kBlocks = 16'384, kIterations = 20'000;
constexpr int64_t kFloats = int64_t{512} << 20;  // 2 GiB: no cache holds them
constexpr int64_t kSide = 4096;                  // of products
#else                                            // over fibers figures mean nothing
constexpr int64_t kBlocks = 2, kIterations = 3, kFloats = 1 << 12, kSide = 64;
#endif
constexpr double kProductOperations = 2.0 * kSide * kSide * kSide;

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

// The functions of cuBLAS that a product needs; status 0 is success.
class Cublas {
 public:
  // Of the library of that name, or of the first of the usual ones. Without one: there() is false.
  explicit Cublas(const std::string& name) {
    for (const std::string& each :
         {name, std::string("libcublas.so.13"), std::string("libcublas.so.12")}) {
      if (!library_ && !each.empty()) library_ = dlopen(each.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (!name.empty()) break;
    }
  }
  ~Cublas() {
    if (handle_) function<int (*)(void*)>("cublasDestroy_v2")(handle_);
    if (library_) dlclose(library_);
  }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
  bool there() const { return library_ != nullptr; }

  void open(Stream stream) {
    check(function<int (*)(void**)>("cublasCreate_v2")(&handle_), "cublasCreate");
    check(function<int (*)(void*, Stream)>("cublasSetStream_v2")(handle_, stream),
          "cublasSetStream");
    sgemm_ = function<Sgemm>("cublasSgemm_v2");
  }
  // c = a b of n x n values, in float32: no mode of less precision is asked for.
  void product(int n, const float* a, const float* b, float* c) {
    const float one = 1, zero = 0;
    check(sgemm_(handle_, 0, 0, n, n, n, &one, a, n, b, n, &zero, c, n), "cublasSgemm");
  }

 private:
  using Sgemm = int (*)(void*, int, int, int, int, int, const float*, const float*, int,
                        const float*, int, const float*, float*, int);
  template <class F>
  F function(const char* name) {
    void* const symbol = dlsym(library_, name);
    if (!symbol)
      fail(std::string("cuBLAS has no ") + name, "install NVIDIA's cuBLAS 12 or 13, or none");
    return reinterpret_cast<F>(symbol);
  }
  static void check(int status, const char* what) {
    if (status != 0) {
      fail(std::string(what) + " failed with status " + std::to_string(status),
           "install the cuBLAS of the driver's CUDA version, or none");
    }
  }
  void* library_ = nullptr;
  void* handle_ = nullptr;
  Sgemm sgemm_ = nullptr;
};

}  // namespace

GpuLimits measure_limits(const Operators& ops, double seconds) {
  const auto& gpu = dynamic_cast<const GpuOperators&>(ops);
  const GpuDevice& device = gpu.device();
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
  limits.product_gflops = best_rate(device, seconds / 3, 1e-9 * kProductOperations, [&] {
    gpu.linear(x.data(), kSide, w, nullptr, y.data(), kSide, kSide, {});
  });
  return limits;
}

double cublas_gflops(const Operators& ops, double seconds, const std::string& library) {
  const GpuDevice& device = dynamic_cast<const GpuOperators&>(ops).device();
  Cublas cublas(library);
  if (!cublas.there()) return 0;
  Array<float> x(device, kSide * kSide), w(device, kSide * kSide), y(device, kSide * kSide);
  clear(device, x.data(), kSide * kSide);
  clear(device, w.data(), kSide * kSide);
  const auto lock = device.use();
  cublas.open(device.stream());
  return best_rate(device, seconds, 1e-9 * kProductOperations, [&] {
    cublas.product(kSide, x.data().address(), w.data().address(), y.data().address());
  });
}

}  // namespace zeroth::kernels::cuda

// What zeroth bench measures of a GPU: the functions run, and cuBLAS is taken where it is there.
#include <dlfcn.h>

#include "core/error.h"
#include "kernels/cuda/gpu.h"
#include "tests/cuda/gpu.h"

namespace zeroth::kernels {
namespace {

TEST_CASE("a GPU's limits are measured, and leave nothing behind") {
  const Gpu gpu(0);
  const cuda::GpuLimits limits = cuda::measure_limits(gpu, 0.01);
  CHECK(limits.gflops > 0);
  CHECK(limits.read_gbs > 0);
  CHECK(limits.product_gflops > 0);
  check_left_empty(gpu);
}

TEST_CASE("cuBLAS is a baseline where it is there, and no need") {
  const Gpu gpu(0);
  CHECK(cuda::cublas_gflops(gpu, 0.01, "no-such-library.so") == 0);
  const std::string stand_in = ZEROTH_CUBLAS_STAND_IN;
  void* const library = dlopen(stand_in.c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  const auto number = [&](const char* name) { return static_cast<int*>(dlsym(library, name)); };
  CHECK(cuda::cublas_gflops(gpu, 0.01, stand_in) > 0);
  CHECK(*number("zeroth_products") >= 4);
  CHECK(*number("zeroth_side") > 0);
  CHECK(*number("zeroth_open") == 0);
  *number("zeroth_fail") = 13;
  CHECK_THROWS_WITH_AS(cuda::cublas_gflops(gpu, 0.01, stand_in),
                       doctest::Contains("cublasSgemm failed with status 13"), Error);
  *number("zeroth_fail") = 0;
  CHECK(*number("zeroth_open") == 0);
  dlclose(library);
  check_left_empty(gpu);
}

}  // namespace
}  // namespace zeroth::kernels

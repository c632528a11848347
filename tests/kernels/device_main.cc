// The tests of the device's kernels on a GPU: the tests that run over fibers everywhere, and the
// same comparisons with the CPU's operators. Exit code 77 where there is no GPU.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdio>

int main(int argc, char** argv) {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    std::printf("no CUDA device: %s\n", cudaGetErrorString(error));
    return 77;
  }
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) == cudaSuccess) {
    std::printf("on %s\n", properties.name);
  }
  return doctest::Context(argc, argv).run();
}

// The operators of a GPU for tests of whole models: over fibers, or (with ZEROTH_ON_DEVICE) of the
// machine's first one.
#pragma once

#include <doctest/doctest.h>

#include "kernels/cuda/gpu_operators.h"
#if !defined(ZEROTH_ON_DEVICE)
#include "kernels/cuda/fibers/fibers.h"
#endif

namespace zeroth {

using Gpu = kernels::cuda::GpuOperators;

// Everything that was queued is done, and nothing was found wrong with it.
inline void check_quiet(const Gpu& gpu) {
#if defined(ZEROTH_ON_DEVICE)
  gpu.device().wait();
#else
  try {
    gpu.device().wait();
  } catch (const std::exception& error) {
    CHECK(std::string(error.what()) == "");
  }
  for (const fibers::Fault& fault : fibers::take_faults()) {
    FAIL_CHECK(fibers::name_of(fault.kind) << ": " << fault.what);
  }
#endif
}
// And all arrays were released.
inline void check_left_empty(const Gpu& gpu) {
  check_quiet(gpu);
  CHECK(gpu.device().arrays() == 0);
}

}  // namespace zeroth

// What the tests of the device's kernels share: arrays of the device, over fibers or (with
// ZEROTH_ON_DEVICE) of a GPU, and comparison with the CPU's operators, bit by bit.
#pragma once

#include <string>
#include <vector>

#include "cuda_shapes.h"
#include "kernel_test.h"
#include "kernels/cuda/products.h"
#if defined(ZEROTH_ON_DEVICE)
#include "device_array.h"
#else
#include "kernels/cuda/fibers/fibers.h"
#endif

namespace zeroth::kernels {

// Nothing was found wrong with the launches since the last call.
#if defined(ZEROTH_ON_DEVICE)
using device::Array;
inline void check_quiet() {
  for (const std::string& fault : device::take_faults()) FAIL(fault);
}
#else
using fibers::Array;
inline void check_quiet() {
  for (const fibers::Fault& fault : fibers::take_faults()) {
    FAIL_CHECK(fibers::name_of(fault.kind) << ": " << fault.what);
  }
}
#endif

// The launches so far were right, and left what the CPU's operator left. Values that nobody wrote
// are NaN of all ones on both sides.
template <class T>
void check_same(const Array<T>& device, const std::vector<T>& cpu, const char* what) {
  check_quiet();
  ++shapes.arrays;
  const std::vector<T> got = device.host();
  REQUIRE(got.size() == cpu.size());
  size_t differing = 0, first = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::memcmp(&got[i], &cpu[i], sizeof(T)) == 0) continue;
    if (differing++ == 0) first = i;
  }
  if (differing == 0) return;
  FAIL_CHECK(what << ": " << differing << " of " << got.size() << " values differ, the first at "
                  << first << ": " << got[first] << " on the device, " << cpu[first]);
}

// Integers in [0, below).
inline std::vector<int32_t> random_ids(int64_t n, int32_t below, uint32_t stream) {
  std::vector<int32_t> x(n);
  Rng rng(30, stream);
  for (int32_t& v : x) v = static_cast<int32_t>(rng.below(static_cast<uint32_t>(below)));
  return x;
}

// What an output holds before: the device's unwritten memory.
inline Values unwritten(int64_t n) {
  Values x(n);
  std::memset(static_cast<void*>(x.data()), 0xff, static_cast<size_t>(n) * sizeof(float));
  return x;
}

// W as the CPU packs it, on the device.
struct CudaWeights {
  PackedMatrix packed;
  Array<float> memory;
  CudaWeights(const Values& w, int64_t out, int64_t in, Element element)
      : packed(pack(w, out, in, element)),
        memory(std::span<const float>(packed.memory().address(),
                                      static_cast<size_t>(packed_floats(out, in, element)))) {}
  cuda::Weights weights() const {
    return {memory.data(), packed.out(), packed.in(), packed.element()};
  }

 private:
  static PackedMatrix pack(const Values& w, int64_t out, int64_t in, Element element) {
    PackedMatrix p;
    p.pack(w.data(), out, in, in, element);
    return p;
  }
};

// Bounds of groups or parts on the device.
struct DeviceBounds {
  Array<int64_t> at;
  int64_t rows;
  explicit DeviceBounds(const std::vector<int64_t>& bounds, int64_t most = -1)
      : at(bounds), rows(most < 0 ? bounds.back() : most) {}
  cuda::RowBounds bounds() const { return {at.data(), at.size() - 1, rows}; }
};

}  // namespace zeroth::kernels

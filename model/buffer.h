// Memory of the host that is kept between calls; arrays of a device: kernels/array.h.
#pragma once

#include <cstdint>
#include <span>

#include "core/memory.h"

namespace zeroth {

// An array without initial values, aligned to cache lines, that only ever grows. get() forgets the
// content when it has to grow. Not thread safe.
template <class T>
class Buffer {
 public:
  T* get(int64_t n) {
    if (n > capacity_) {
      const int64_t wanted = n + n / 8;  // batches differ a little from step to step
      data_.reset();
      capacity_ = 0;
      data_ = allocate_array<T>(wanted);
      capacity_ = wanted;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }
  int64_t bytes() const { return capacity_ * static_cast<int64_t>(sizeof(T)); }

 private:
  Memory<T> data_;
  int64_t capacity_ = 0;
};

// ZeroedMemory as floats.
class ZeroedFloats {
 public:
  explicit ZeroedFloats(size_t n) : memory_(array_bytes(n, sizeof(float))), size_(n) {}
  std::span<float> span() const { return {static_cast<float*>(memory_.data()), size_}; }

 private:
  ZeroedMemory memory_;
  size_t size_;
};

}  // namespace zeroth

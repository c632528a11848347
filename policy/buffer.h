// Scratch memory that is kept between calls.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace zeroth {

// An array without initial values, aligned to cache lines, that only ever grows. get() forgets the
// content when it has to grow. Not thread safe.
template <class T>
class Buffer {
 public:
  T* get(int64_t n) {
    if (n > capacity_) {
      const int64_t wanted = n + n / 8;  // batches differ a little from step to step
      const size_t bytes = (static_cast<size_t>(wanted) * sizeof(T) + 63) / 64 * 64;
      data_.reset();
      capacity_ = 0;
      data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
      if (!data_) throw std::bad_alloc();
      capacity_ = wanted;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }
  int64_t bytes() const { return capacity_ * static_cast<int64_t>(sizeof(T)); }

 private:
  struct Free {
    void operator()(T* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t capacity_ = 0;
};

// Zeros that take memory only where they are written: pages come on first touch.
class ZeroedFloats {
 public:
  explicit ZeroedFloats(size_t n)
      : data_(static_cast<float*>(std::calloc(n == 0 ? 1 : n, sizeof(float)))), size_(n) {
    if (!data_) throw std::bad_alloc();
  }
  std::span<float> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(float* pointer) const { std::free(pointer); }
  };
  std::unique_ptr<float, Free> data_;
  size_t size_;
};

using Floats = Buffer<float>;
using Ints = Buffer<int32_t>;

}  // namespace zeroth

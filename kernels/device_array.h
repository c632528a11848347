// Arrays of a device: what owns their memory, and what passes between them and the host.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "kernels/array.h"
#include "kernels/device.h"

namespace zeroth::kernels {

// An array of a device without initial values, aligned to cache lines, that only ever grows.
// Move-only. Not thread safe.
template <class T>
class Array {
 public:
  Array() : device_(&host_device()) {}
  explicit Array(const Device& device) : device_(&device) {}
  // Of exactly n values.
  Array(const Device& device, int64_t n) : device_(&device) { allocate(n); }
  Array(Array&& other) noexcept
      : device_(other.device_),
        memory_(std::exchange(other.memory_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(memory_, other.memory_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Array() { reset(); }

  // At least n values; forgets the content when it has to grow.
  At<T> get(int64_t n) {
    if (n > capacity_) {
      reset();
      allocate(n + n / 8);  // batches differ a little from step to step
    }
    return memory_;
  }
  At<T> data() const { return memory_; }
  int64_t bytes() const { return capacity_ * static_cast<int64_t>(sizeof(T)); }
  const Device& device() const { return *device_; }
  // Lives there from now on.
  void on(const Device& device) {
    if (device_ == &device) return;
    reset();
    device_ = &device;
  }
  void reset() {
    if (memory_) device_->release(memory_);
    memory_ = nullptr;
    capacity_ = 0;
  }

 private:
  void allocate(int64_t n) {
    memory_ = static_cast<T*>(device_->allocate(array_bytes(static_cast<size_t>(n), sizeof(T))));
    capacity_ = n;
  }

  const Device* device_;
  T* memory_ = nullptr;
  int64_t capacity_ = 0;
};

// n values of the host to the device and back, and n zeros.
template <class T>
void copy_in(const Device& device, At<T> to, const T* from, int64_t n) {
  device.copy_in(to.address(), from, static_cast<size_t>(n) * sizeof(T));
}
template <class T>
void copy_out(const Device& device, T* to, std::type_identity_t<At<const T>> from, int64_t n) {
  device.copy_out(to, from.address(), static_cast<size_t>(n) * sizeof(T));
}
template <class T>
void clear(const Device& device, At<T> at, int64_t n) {
  device.clear(at.address(), static_cast<size_t>(n) * sizeof(T));
}

// Values that the host has made, where operators find them: they themselves, or a copy.
template <class T>
class Staged {
 public:
  // Valid until the next call, and no longer than `values`.
  View<const T> put(const Device& device, std::span<const T> values) {
    if (device.in_host_memory()) return values;
    copy_.on(device);
    const auto n = static_cast<int64_t>(values.size());
    copy_in(device, copy_.get(n), values.data(), n);
    return {copy_.data(), values.size()};
  }

 private:
  Array<T> copy_;
};

// Values that operators have made, where the host can read them: they themselves, or a copy.
template <class T>
class OnHost {
 public:
  OnHost(const Device& device, At<const T> values, int64_t n) {
    if (device.in_host_memory()) {
      values_ = {values.address(), static_cast<size_t>(n)};
      return;
    }
    copy_.resize(static_cast<size_t>(n));
    copy_out(device, copy_.data(), values, n);
    values_ = copy_;
  }
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;
  std::span<const T> values() const { return values_; }
  const T& operator[](int64_t i) const { return values_[static_cast<size_t>(i)]; }

 private:
  std::vector<T> copy_;
  std::span<const T> values_;
};

// Room where the host makes n values that operators go on with: their place itself, or a copy that
// done() moves there.
template <class T>
class FromHost {
 public:
  FromHost(const Device& device, At<T> to, int64_t n) : device_(device), to_(to) {
    if (device.in_host_memory()) {
      values_ = {to.address(), static_cast<size_t>(n)};
      return;
    }
    copy_.resize(static_cast<size_t>(n));
    values_ = copy_;
  }
  FromHost(const FromHost&) = delete;
  std::span<T> values() const { return values_; }
  void done() const { kernels::copy_in(device_, to_, copy_.data(), copy_.size()); }

 private:
  const Device& device_;
  At<T> to_;
  std::vector<T> copy_;
  std::span<T> values_;
};

}  // namespace zeroth::kernels

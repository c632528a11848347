// Arrays of a GPU, in the interface of kernels/cuda/fibers/fibers.h: the same tests run on either.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace zeroth::device {

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// What launches since the last call failed with: nothing, or one message.
inline std::vector<std::string> take_faults() {
  const cudaError_t error = cudaDeviceSynchronize();
  if (error == cudaSuccess) return {};
  return {cudaGetErrorString(error)};
}

template <class T>
class Array {
 public:
  // All ones, as unwritten memory is over fibers.
  explicit Array(int64_t count, size_t offset = 0) : count_(count) {
    const size_t bytes = (static_cast<size_t>(count) + offset) * sizeof(T);
    check(cudaMalloc(&memory_, bytes + 1));
    check(cudaMemset(memory_, 0xff, bytes + 1));
    at_ = static_cast<T*>(memory_) + offset;
  }
  explicit Array(std::span<const T> values, size_t offset = 0)
      : Array(static_cast<int64_t>(values.size()), offset) {
    check(cudaMemcpy(at_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice));
  }
  explicit Array(const std::vector<T>& values, size_t offset = 0)
      : Array(std::span<const T>(values), offset) {}
  ~Array() { cudaFree(memory_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return at_; }
  int64_t size() const { return count_; }
  std::vector<T> host() const {
    std::vector<T> values(static_cast<size_t>(count_));
    check(cudaMemcpy(values.data(), at_, values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  void* memory_ = nullptr;
  T* at_ = nullptr;
  int64_t count_;
};

}  // namespace zeroth::device

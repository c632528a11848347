// Memory that operators reuse between calls.
#pragma once

#include <cstdint>

#include "core/memory.h"

namespace zeroth::kernels {

// A block of floats aligned to cache lines. Contents are not initialised and are lost when it
// grows.
class Floats {
 public:
  float* reserve(int64_t count) {
    if (count > capacity_) {
      data_.reset();
      capacity_ = 0;
      data_ = allocate_array<float>(count);
      capacity_ = count;
    }
    return data_.get();
  }
  float* data() const { return data_.get(); }

 private:
  Memory<float> data_;
  int64_t capacity_ = 0;
};

// This thread's block for purpose `slot`; valid until the thread reserves the same slot again.
// Slots keep nested uses apart: an operator's own buffer must survive the products it calls.
enum class Slot { kPanel, kRows, kAttention, kOperator, kCount };
inline float* thread_scratch(Slot slot, int64_t count) {
  thread_local Floats blocks[static_cast<int>(Slot::kCount)];
  return blocks[static_cast<int>(slot)].reserve(count);
}

}  // namespace zeroth::kernels

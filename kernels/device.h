// Where arrays live.
#pragma once

#include <cstddef>
#include <string>

namespace zeroth::kernels {

// The memory of one device. Immutable, thread safe, outlives every array on it. A device whose
// operators run behind the host's back does copies and clear() in the order of these calls.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string name() const = 0;
  // Whether the host may follow the device's addresses.
  virtual bool in_host_memory() const = 0;
  // Uninitialised, aligned to cache lines. Throws std::bad_alloc.
  virtual void* allocate(size_t bytes) const = 0;
  virtual void release(void* memory) const = 0;
  // From the host's memory into the device's and back; done on return.
  virtual void copy_in(void* to, const void* from, size_t bytes) const = 0;
  virtual void copy_out(void* to, const void* from, size_t bytes) const = 0;
  // Zeros.
  virtual void clear(void* at, size_t bytes) const = 0;
};

// Memory of this process (core/memory.h).
const Device& host_device();

}  // namespace zeroth::kernels

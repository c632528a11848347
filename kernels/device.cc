#include "kernels/device.h"

#include <cstdlib>
#include <cstring>

#include "core/memory.h"

namespace zeroth::kernels {
namespace {

class HostDevice final : public Device {
 public:
  std::string name() const override { return "host"; }
  bool in_host_memory() const override { return true; }
  void* allocate(size_t bytes) const override { return zeroth::allocate(bytes); }
  void release(void* memory) const override { FreeMemory()(memory); }
  void copy_in(void* to, const void* from, size_t bytes) const override { copy(to, from, bytes); }
  void copy_out(void* to, const void* from, size_t bytes) const override { copy(to, from, bytes); }
  void clear(void* at, size_t bytes) const override {
    if (bytes > 0) std::memset(at, 0, bytes);
  }

 private:
  static void copy(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
};

}  // namespace

const Device& host_device() {
  static const HostDevice device;
  return device;
}

}  // namespace zeroth::kernels

// Memory for large arrays.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace zeroth {

// Memory from kLargePage bytes on begins at a multiple of it and asks the system for pages of this
// size (transparent huge pages): products and attention read far more memory than the tables of
// small pages that a core keeps.
inline constexpr size_t kLargePage = size_t{2} << 20;

// count * size. Throws std::bad_alloc when that is no size.
size_t array_bytes(size_t count, size_t size);

// Uninitialised, aligned to cache lines; to be freed by FreeMemory. Throws std::bad_alloc. Thread
// safe.
void* allocate(size_t bytes);

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Memory = std::unique_ptr<T, FreeMemory>;
template <class T>
Memory<T> allocate_array(size_t count) {
  return Memory<T>(static_cast<T*>(allocate(array_bytes(count, sizeof(T)))));
}

// Zeros that take memory only where they are written: pages come on first touch. Aligned as above.
// Throws std::bad_alloc.
class ZeroedMemory {
 public:
  explicit ZeroedMemory(size_t bytes);
  ~ZeroedMemory();
  ZeroedMemory(ZeroedMemory&& other) noexcept;
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;
  void* data() const { return data_; }

 private:
  void* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  void* data_ = nullptr;
};

}  // namespace zeroth

#include "core/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>

#include "core/system.h"

namespace zeroth {
namespace {

constexpr size_t kLine = 64;
// More is no object's size, whatever the alignment adds.
constexpr size_t kMostBytes = size_t{PTRDIFF_MAX} - 2 * kLargePage;

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

// Only whole pages: the rest of a last one would be memory that nobody uses. Where the system says
// no, small pages do.
void ask_for_large_pages(void* memory, size_t bytes) {
  system::ask_for_large_pages(memory, bytes, kLargePage);
}

}  // namespace

size_t array_bytes(size_t count, size_t size) {
  if (size > 0 && count > kMostBytes / size) throw std::bad_alloc();
  return count * size;
}

void* allocate(size_t bytes) {
  if (bytes > kMostBytes) throw std::bad_alloc();
  const bool large = bytes >= kLargePage;
  void* memory = nullptr;
  if (::posix_memalign(&memory, large ? kLargePage : kLine, round_up(bytes, kLine)) != 0) {
    throw std::bad_alloc();
  }
  if (large) ask_for_large_pages(memory, bytes);
  return memory;
}

ZeroedMemory::ZeroedMemory(size_t bytes) {
  if (bytes == 0) return;
  if (bytes > kMostBytes) throw std::bad_alloc();
  const bool large = bytes >= kLargePage;
  const size_t mapped = bytes + (large ? kLargePage : 0);
  void* memory =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mapped_ = memory;
  mapped_bytes_ = mapped;
  const auto at = reinterpret_cast<uintptr_t>(memory);
  data_ = static_cast<char*>(memory) + (large ? round_up(at, kLargePage) - at : 0);
  if (large) ask_for_large_pages(data_, bytes);
}

ZeroedMemory::~ZeroedMemory() {
  if (mapped_) ::munmap(mapped_, mapped_bytes_);
}

ZeroedMemory::ZeroedMemory(ZeroedMemory&& other) noexcept
    : mapped_(std::exchange(other.mapped_, nullptr)),
      mapped_bytes_(std::exchange(other.mapped_bytes_, 0)),
      data_(std::exchange(other.data_, nullptr)) {}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  std::swap(mapped_, other.mapped_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(data_, other.data_);
  return *this;
}

}  // namespace zeroth

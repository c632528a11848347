#include "ranks/neighbour_memory.h"

#include <unistd.h>

#include <cstring>
#include <random>

#include "core/system.h"

namespace zeroth {

OwnMemory::OwnMemory() {
  std::random_device random;
  for (uint64_t& word : words_) word = (uint64_t{random()} << 32) | random();
  card_.process = ::getpid();
  card_.machine = system::machine_mark();
  card_.address = reinterpret_cast<uintptr_t>(words_);
  std::memcpy(card_.words, words_, sizeof words_);
}

bool readable(const MemoryCard& own, const MemoryCard& other) {
  if (own.machine == 0 || own.machine != other.machine || other.process <= 0) return false;
  uint64_t words[2] = {};
  return read_memory(other.process, other.address, std::as_writable_bytes(std::span(words))) &&
         std::memcmp(words, other.words, sizeof words) == 0;
}

void allow_siblings() { system::let_siblings_read(); }

bool read_memory(int64_t process, uint64_t address, std::span<std::byte> to) {
  return system::read_memory(static_cast<pid_t>(process), address, to);
}

}  // namespace zeroth

// Reading the memory of another process on this machine (core/system.h), which copies once
// where a connection over the loopback interface copies twice and wakes threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace zeroth {

// What a process tells another one, so that it can find out whether it may read: plain bytes.
struct MemoryCard {
  int64_t process = 0;     // its number
  uint64_t machine = 0;    // a hash of the boot's id and the namespace of process numbers
  uint64_t address = 0;    // of two words in its memory,
  uint64_t words[2] = {};  // which are random
};

// This process's words, which stay where they are. Thread safe.
class OwnMemory {
 public:
  OwnMemory();
  const MemoryCard& card() const { return card_; }

 private:
  uint64_t words_[2];
  MemoryCard card_;
};

// Whether the process of the card is on this machine and the system lets this one read its memory.
bool readable(const MemoryCard& own, const MemoryCard& other);
// Lets children of this process's parent read its memory where Yama allows it to children alone.
void allow_siblings();

// Fills `to` from `address` on in the memory of the process. False when it is gone, or has nothing
// there.
bool read_memory(int64_t process, uint64_t address, std::span<std::byte> to);

}  // namespace zeroth

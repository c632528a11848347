// Looks at every access of a kernel. The compiler calls the functions at the end of this file (the
// interface of ThreadSanitizer); each finds the words that an access covers and holds it against
// what is known of them: who allocated them, whether anybody wrote them, who touched them last and
// whether a barrier lies between.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/cuda/fibers/block.h"

namespace zeroth::fibers {
namespace {

constexpr size_t kWordBytes = 4, kGuard = 512;
constexpr uint64_t kMostAccesses = 400'000'000;  // of a launch: then it does not end

// When and by whom a word was touched. launch 0: never.
struct Stamp {
  uint32_t launch, block, phase, clock;
  uint16_t thread;
  uint8_t bytes;  // which of the word's
  bool atomic;
};
// Readers since the last write: lanes of one warp, more warps of a block, or more blocks.
enum class Readers : uint8_t { kWarp, kBlock, kGrid };
struct Word {
  Stamp write, read;  // read: the latest, of the first reader's warp
  uint32_t lanes;     // that have read
  Readers readers;
  uint8_t allocated, written;  // bits of its bytes
  bool pending;
};

struct Arena {
  char* memory;
  Word* words;
  size_t bytes;
  explicit Arena(size_t size) : bytes(size) {
    memory = static_cast<char*>(map(size));
    words = static_cast<Word*>(map(size / kWordBytes * sizeof(Word)));
  }
  static void* map(size_t size) {
    void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
      std::perror("fibers: mmap");
      std::abort();
    }
    return at;
  }
  bool holds(uintptr_t at) const { return at - reinterpret_cast<uintptr_t>(memory) < bytes; }
  Word& word(uintptr_t at) const {
    return words[(at - reinterpret_cast<uintptr_t>(memory)) / kWordBytes];
  }
  void clear(const void* at, size_t size) const {
    const size_t first = static_cast<size_t>(static_cast<const char*>(at) - memory) / kWordBytes;
    const size_t count = (size + 2 * kWordBytes - 1) / kWordBytes;
    std::memset(static_cast<void*>(words + first), 0, count * sizeof(Word));
  }
};

Arena forbidden(size_t size) {
  Arena arena(size);
  forbid(arena.memory, size);
  return arena;
}
Arena& device() {
  static Arena arena = forbidden(kArenaBytes);
  return arena;
}
Arena& shared() {
  static Arena arena = forbidden(size_t{512} << 10);
  return arena;
}
size_t next_free = kGuard;
std::map<void*, size_t> live;  // allocations

// f(word, bits of its bytes) for the words that [at, at + bytes) covers.
template <class F>
void for_words(const Arena& arena, const void* at, size_t bytes, const F& f) {
  const auto begin = reinterpret_cast<uintptr_t>(at), end = begin + bytes;
  for (uintptr_t w = begin / kWordBytes * kWordBytes; w < end; w += kWordBytes) {
    const uintptr_t from = std::max(begin, w) - w, to = std::min<uintptr_t>(end - w, kWordBytes);
    f(arena.word(w), static_cast<uint8_t>((1u << to) - (1u << from)));
  }
}

bool same_warp(const Stamp& s, const Fiber& f) { return s.thread / kWarp == f.warp(); }

// Whether what s says comes before what the running fiber does now.
bool ordered(const Stamp& s, const Block& b, const Fiber& f) {
  if (s.launch != b.launch) return true;
  if (s.block != b.number) return false;
  if (s.thread == f.index || s.phase < b.phase) return true;
  return same_warp(s, f) && s.clock <= f.clocks[s.thread % kWarp];
}

[[noreturn]] void raise_race(const Stamp& s, const Block& b, const char* what) {
  const bool blocks = s.block != b.number;
  raise_in_kernel(blocks ? Kind::kBlockRace : Kind::kRace,
                  std::string(what) + " of thread " + std::to_string(s.thread) + " of block " +
                      std::to_string(s.block) + ", not ordered before this access");
}

// Clocks count the waits of a lane: what it did since its last wait is unknown to the others.
Stamp now(const Block& b, const Fiber& f, uint8_t bytes, Access access) {
  return {b.launch,
          b.number,
          b.phase,
          f.clocks[f.lane()],
          static_cast<uint16_t>(f.index),
          bytes,
          access == Access::kAtomic};
}

void note_read(Word& w, const Block& b, const Fiber& f, uint8_t bytes) {
  const Stamp stamp = now(b, f, bytes, Access::kRead);
  Stamp& last = w.read;
  const bool superseded =
      last.launch != b.launch ||
      (w.readers != Readers::kGrid && last.block == b.number && last.phase < b.phase);
  if (superseded) {
    last = stamp;
    w.lanes = 1u << f.lane();
    w.readers = Readers::kWarp;
    return;
  }
  if (last.block != b.number) {
    w.readers = Readers::kGrid;
  } else if (!same_warp(last, f)) {
    w.readers = std::max(w.readers, Readers::kBlock);
  }
  last.phase = std::max(last.phase, b.phase);
  last.clock = std::max(last.clock, stamp.clock);
  last.bytes |= bytes;
  w.lanes |= 1u << f.lane();
}

void check_readers(const Word& w, const Block& b, const Fiber& f, uint8_t bytes) {
  const Stamp& s = w.read;
  if (s.launch != b.launch || !(s.bytes & bytes)) return;
  const char* const what = "a read";
  if (w.readers == Readers::kGrid || s.block != b.number) {
    Stamp other = s;
    if (other.block == b.number) other.block = b.number + 1;  // one of several
    raise_race(other, b, what);
  }
  if (s.phase < b.phase) return;
  if (w.readers == Readers::kBlock) raise_race(s, b, what);
  if (!same_warp(s, f)) raise_race(s, b, what);
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (lane == f.lane() || !(w.lanes >> lane & 1)) continue;
    if (s.clock > f.clocks[lane]) raise_race(s, b, what);
  }
}

void check_word(Word& w, const Block& b, const Fiber& f, uint8_t bytes, Access access,
                bool is_shared) {
  if ((w.allocated & bytes) != bytes) {
    raise_in_kernel(is_shared ? Kind::kSharedBounds : Kind::kOutOfBounds,
                    is_shared ? "an access behind the shared memory of this launch"
                              : "an access outside of every array of the device");
  }
  if (!kWatched) return;
  if (w.pending) {
    raise_in_kernel(Kind::kAsync, "an access to the target of a copy that is under way");
  }
  const bool atomic = access == Access::kAtomic;
  if ((w.write.bytes & bytes) && !(atomic && w.write.atomic) && !ordered(w.write, b, f)) {
    raise_race(w.write, b, "a write");
  }
  if (access != Access::kWrite && (w.written & bytes) != bytes) {
    raise_in_kernel(Kind::kUnwritten, is_shared ? "a read of shared memory that nobody wrote"
                                                : "a read of device memory that nobody wrote");
  }
  if (access == Access::kRead) return note_read(w, b, f, bytes);
  check_readers(w, b, f, bytes);
  const uint8_t before = w.write.launch == b.launch ? w.write.bytes : 0;
  w.write = now(b, f, bytes, access);
  w.write.bytes |= before;
  w.written |= bytes;
  if ((w.read.bytes & ~bytes) == 0) w.read = {};
}

}  // namespace

void touch(const void* at, size_t bytes, Access access) {
  Block& b = block();
  if (!b.running) return;  // the host's own
  if (++b.accesses > kMostAccesses) {
    raise_in_kernel(Kind::kStuck, std::to_string(kMostAccesses) + " accesses and no end");
  }
  const auto address = reinterpret_cast<uintptr_t>(at);
  const Fiber& f = *b.running;
  if (address - reinterpret_cast<uintptr_t>(f.stack) < kStackBytes) return;
  const bool is_shared = shared().holds(address);
  if (is_shared || device().holds(address)) {
    for_words(is_shared ? shared() : device(), at, bytes,
              [&](Word& w, uint8_t bits) { check_word(w, b, f, bits, access, is_shared); });
    return;
  }
  const bool parameter = address - reinterpret_cast<uintptr_t>(b.parameters) < b.parameter_bytes;
  if (parameter && access == Access::kRead) return;
  raise_in_kernel(Kind::kHostMemory, parameter ? "a write to the parameters of the launch"
                                               : "an access to memory of the host");
}

void set_pending(const void* at, size_t bytes, bool pending) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  const Arena& arena = shared().holds(address) ? shared() : device();
  if (!arena.holds(address)) return;
  for_words(arena, at, bytes, [&](Word& w, uint8_t) { w.pending = pending; });
  if (bytes % 8 != 0) return;  // AddressSanitizer knows nothing smaller
  if (pending) {
    forbid(const_cast<void*>(at), bytes);
  } else {
    permit(const_cast<void*>(at), bytes);
  }
}

char* shared_arena() { return shared().memory; }

void reset_shared(size_t bytes) {
  static size_t before = 0;
  shared().clear(shared().memory, std::max(before, bytes));
  forbid(shared().memory, before);
  renew_pages(shared().memory, bytes);
  permit(shared().memory, bytes);
  before = bytes;
  std::memset(shared().memory, 0xff, bytes);  // NaN
  if (bytes == 0) return;
  for_words(shared(), shared().memory, bytes, [](Word& w, uint8_t bits) { w.allocated = bits; });
}

char* stack_arena() {
  static char* const stacks = static_cast<char*>(Arena::map(kSlots * kStackBytes));
  return stacks;
}

void* allocate(size_t bytes, size_t offset) {
  if (live.empty()) next_free = kGuard;
  char* const at = device().memory + (next_free + 255) / 256 * 256 + offset;
  next_free = static_cast<size_t>(at - device().memory) + bytes + kGuard;
  if (next_free > kArenaBytes) {
    std::fprintf(stderr, "fibers: the device has %zu bytes\n", kArenaBytes);
    std::abort();
  }
  live[at] = bytes;
  const OpenMemory open;
  permit(at, bytes);
  std::memset(at, 0xff, bytes);
  if (bytes > 0) for_words(device(), at, bytes, [](Word& w, uint8_t bits) { w.allocated |= bits; });
  return at;
}

void release(void* memory) {
  const auto at = live.find(memory);
  if (at == live.end()) return;
  device().clear(memory, at->second);
  forbid(memory, at->second);
  live.erase(at);
}

void* reserve(size_t bytes) {
  const size_t begin = (next_free + kGuard - 1) / kGuard * kGuard;
  next_free = begin + bytes + kGuard;
  if (next_free > kArenaBytes) {
    std::fprintf(stderr, "fibers: the device has %zu bytes\n", kArenaBytes);
    std::abort();
  }
  live[device().memory + begin] = 0;
  return device().memory + begin;
}

void set_allocated(void* at, size_t bytes, bool allocated) {
  if (bytes == 0) return;
  device().clear(at, bytes);
  forbid(at, bytes);
  if (!allocated) return;
  const OpenMemory open;
  permit(at, bytes);
  std::memset(at, 0xff, bytes);
  for_words(device(), at, bytes, [](Word& w, uint8_t bits) { w.allocated = bits; });
}

bool check_copy(const void* at, size_t bytes, bool reads) {
  if (!device().holds(reinterpret_cast<uintptr_t>(at))) {
    note(Kind::kHostMemory, "a copy between the host and what is no memory of the device");
    return false;
  }
  bool allocated = true, written = true;
  if (bytes > 0) {
    for_words(device(), at, bytes, [&](const Word& w, uint8_t bits) {
      allocated &= (w.allocated & bits) == bits;
      written &= (w.written & bits) == bits;
    });
  }
  written |= !kWatched;
  if (!allocated) note(Kind::kOutOfBounds, "a copy outside of every array of the device");
  if (allocated && reads && !written) note(Kind::kUnwritten, "a copy of what nobody wrote");
  return allocated && (written || !reads);
}

namespace {
bool hidden = false;
int opened = 0;
void allow(int access) {
  if (mprotect(device().memory, kArenaBytes, access) == 0) return;
  std::perror("fibers: mprotect");
  std::abort();
}
}  // namespace

void hide_memory() {
  if (hidden) return;
  hidden = true;
  if (opened == 0) allow(PROT_NONE);
}
OpenMemory::OpenMemory() {
  if (opened++ == 0 && hidden) allow(PROT_READ | PROT_WRITE);
}
OpenMemory::~OpenMemory() {
  if (--opened == 0 && hidden) allow(PROT_NONE);
}

void mark_written(const void* memory, size_t bytes) {
  if (bytes == 0) return;
  for_words(device(), memory, bytes, [](Word& w, uint8_t bits) { w.written |= bits; });
}

}  // namespace zeroth::fibers

#if !defined(ZEROTH_FIBERS_TSAN)  // whose runtime has these
// --- what the compiler calls

using zeroth::fibers::Access;

namespace {
void seen(const void* at, size_t bytes, Access access) {
  if (!zeroth::fibers::runs_block) return;
  zeroth::fibers::Block& b = zeroth::fibers::block();
  if (!b.running || b.inside) return;
  b.inside = true;
  zeroth::fibers::touch(at, bytes, access);
  b.inside = false;
}
}  // namespace

extern "C" {
// The names are the compiler's.
// NOLINTBEGIN(bugprone-reserved-identifier)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_read_range(const void* at, size_t bytes) { seen(at, bytes, Access::kRead); }
void __tsan_write_range(const void* at, size_t bytes) { seen(at, bytes, Access::kWrite); }
#define ZEROTH_ACCESS(bytes)                                                            \
  void __tsan_read##bytes(const void* at) { seen(at, bytes, Access::kRead); }           \
  void __tsan_write##bytes(const void* at) { seen(at, bytes, Access::kWrite); }         \
  void __tsan_unaligned_read##bytes(const void* at) { seen(at, bytes, Access::kRead); } \
  void __tsan_unaligned_write##bytes(const void* at) { seen(at, bytes, Access::kWrite); }
ZEROTH_ACCESS(1)
ZEROTH_ACCESS(2)
ZEROTH_ACCESS(4)
ZEROTH_ACCESS(8)
ZEROTH_ACCESS(16)
#undef ZEROTH_ACCESS
// clang's names for what g++ expands.
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  seen(from, bytes, Access::kRead);
  seen(to, bytes, Access::kWrite);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  seen(to, bytes, Access::kWrite);
  return std::memset(to, value, bytes);
}
// NOLINTEND(bugprone-reserved-identifier)
}
#endif

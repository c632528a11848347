// The state of the block that runs, for fibers.cc and watch.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cuda/fibers/fibers.h"
#include "kernels/cuda/fibers/sanitizers.h"

namespace zeroth::fibers {

inline constexpr unsigned kMostThreads = 1024, kWarp = 32;
inline constexpr size_t kMostShared = size_t{227} * 1024, kMostParameters = 4096;
// Reports of a sanitizer are written on the stack where the fault is.
inline constexpr size_t kStackBytes = size_t{kWatched ? 64 : 256} * 1024;

// A copy that is under way: nothing arrives before it is waited for.
struct AsyncCopy {
  void* to;  // null: the end of a group
  const void* from;
  int bytes;
  unsigned group;  // counts the thread's
};

enum class Wait : uint8_t { kNone, kBlock, kWarp, kDone };

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;  // kStackBytes
  unsigned index = 0, slot = 0;
  Wait wait = Wait::kNone;
  uint32_t mask = 0;  // lanes that a warp's wait names
  int line = 0;       // of the wait
  uint64_t value = 0, received = 0;
  uint32_t votes = 0;
  int from = 0;
  // Which accesses of its warp's lanes come before what it does now: those of lane j up to and with
  // clocks[j]. Its own clock counts its waits.
  uint32_t clocks[kWarp] = {};
  std::vector<AsyncCopy> copies;
  unsigned groups = 0;  // of copies that it has ended
  FiberSwitch switching;

  unsigned lane() const { return index % kWarp; }
  unsigned warp() const { return index / kWarp; }
};

struct Block {
  uint32_t launch = 0;  // counts launches
  uint32_t number = 0;  // of the block in the grid
  uint32_t phase = 0;   // barriers that it has passed
  Index3 index, grid;
  unsigned threads = 0;
  size_t shared_bytes = 0;
  char* shared = nullptr;
  const char* parameters = nullptr;
  size_t parameter_bytes = 0;
  std::vector<Fiber> fibers;
  Fiber* running = nullptr;  // null: the host
  uint64_t accesses = 0;     // of the launch
  bool failed = false;
  // The fiber is in the functions of this folder: what they touch is no kernel's doing, although
  // the linker may have given them an instrumented copy of a function of the standard library.
  bool inside = false;
};
Block& block();

// Whether the calling thread is at the block; others of the process do not concern its kernel.
extern constinit thread_local bool runs_block;

// Notes the fault and ends the launch: does not return to a fiber.
[[noreturn]] void raise_in_kernel(Kind kind, const std::string& what);
void note(Kind kind, const std::string& what);

// --- watch.cc
enum class Access { kRead, kWrite, kAtomic };
// Checks an access of the running fiber; raises what is wrong with it.
void touch(const void* at, size_t bytes, Access access);
// A target that is under way must not be touched.
void set_pending(const void* at, size_t bytes, bool pending);
// Faults wait to be taken.
bool faulty();
inline constexpr size_t kArenaBytes = size_t{256} << 20;  // of the device
// Of the arena, not yet any array's; never given back.
void* reserve(size_t bytes);
// A reserved part becomes an array of unwritten values, or what nobody may touch.
void set_allocated(void* at, size_t bytes, bool allocated);
// Whether a copy may read there, or write; notes what is wrong with it.
bool check_copy(const void* at, size_t bytes, bool reads);
// From now on the host can touch the device's memory only while an OpenMemory lives: who follows an
// address dies.
void hide_memory();
struct OpenMemory {
  OpenMemory();
  ~OpenMemory();
};
char* shared_arena();
void reset_shared(size_t bytes);
char* stack_arena();  // kSlots stacks

}  // namespace zeroth::fibers

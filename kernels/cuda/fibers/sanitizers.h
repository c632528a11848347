// What AddressSanitizer and ThreadSanitizer are told of fibers, barriers, asynchronous copies and the
// device's memory, in builds with one of them (ZEROTH_FIBERS_ASAN, ZEROTH_FIBERS_TSAN:
// tests/kernels/tests.cmake). There they look at a kernel's accesses instead of watch.cc. Elsewhere
// nothing here does anything.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/cuda/fibers/fibers.h"

#if defined(ZEROTH_FIBERS_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace zeroth::fibers {

#if defined(ZEROTH_FIBERS_ASAN)
inline constexpr Looker kLooker = Looker::kAddressSanitizer;
#elif defined(ZEROTH_FIBERS_TSAN)
inline constexpr Looker kLooker = Looker::kThreadSanitizer;
#else
inline constexpr Looker kLooker = Looker::kWatch;
#endif
inline constexpr bool kWatched = kLooker == Looker::kWatch;

// Whether the sanitizer has reported something since the last call. (It must not be asked for more:
// it reports while it holds its own locks, from wherever the fault is.)
#if defined(ZEROTH_FIBERS_ASAN) || defined(ZEROTH_FIBERS_TSAN)
bool take_report();
#else
inline bool take_report() { return false; }
#endif

// --- AddressSanitizer: memory that nobody may touch, or may again
inline void forbid(void* at, size_t bytes) {
#if defined(ZEROTH_FIBERS_ASAN)
  __asan_poison_memory_region(at, bytes);
#else
  static_cast<void>(at), static_cast<void>(bytes);
#endif
}
inline void permit(void* at, size_t bytes) {
#if defined(ZEROTH_FIBERS_ASAN)
  __asan_unpoison_memory_region(at, bytes);
#else
  static_cast<void>(at), static_cast<void>(bytes);
#endif
}

// --- ThreadSanitizer: what comes before what
// Every slot is a thread to it, with a stack of its own. The blocks of a launch that follow one
// another run on different slots, since threads of one slot are in order to it; so it sees blocks
// that touch one place, and only blocks that lie `sets_of` apart are hidden from each other. All
// functions are for the host's side of a switch.
#if defined(ZEROTH_FIBERS_TSAN)
inline constexpr unsigned kSlots = 2048;
void begin_launch();  // behind everything so far; the host's own accesses do not count
void begin_block(unsigned first, unsigned count);  // of these slots, behind the launch's begin
void meet(std::span<const unsigned> slots);        // at a barrier
void end_launch(bool whole);  // everything before what follows; not whole: fibers stay behind
int fetch_add(int* at, int by);
// Memory at page boundaries that is new, whoever touched it before.
void renew_pages(void* at, size_t bytes);
// An asynchronous copy is a thread of its own: it writes as soon as its fiber says so, in whatever
// order with the rest, until the fiber waits for its group.
void copy_begins(unsigned slot, unsigned group, void* to, const void* from, size_t bytes);
void copies_arrive(unsigned slot, unsigned group);
#else
inline constexpr unsigned kSlots = 1024;
inline void begin_launch() {}
inline void begin_block(unsigned, unsigned) {}
inline void meet(std::span<const unsigned>) {}
inline void end_launch(bool) {}
inline int fetch_add(int* at, int by) {
  const int before = *at;
  *at = static_cast<int>(static_cast<unsigned>(before) + static_cast<unsigned>(by));
  return before;
}
inline void renew_pages(void*, size_t) {}
inline void copy_begins(unsigned, unsigned, void*, const void*, size_t) {}
inline void copies_arrive(unsigned, unsigned) {}
#endif

// --- both: switching stacks
#if defined(ZEROTH_FIBERS_TSAN)
void enter_slot(unsigned slot);
void leave_slot();
#else
inline void enter_slot(unsigned) {}
inline void leave_slot() {}
#endif

// The host's side of a switch: what stands before switch_stack() to a fiber, and behind it.
class HostSwitch {
 public:
  HostSwitch(unsigned slot, const char* stack, size_t bytes) {
    enter_slot(slot);
#if defined(ZEROTH_FIBERS_ASAN)
    __sanitizer_start_switch_fiber(&fake_stack_, stack, bytes);
#else
    static_cast<void>(stack), static_cast<void>(bytes);
#endif
  }
  ~HostSwitch() {
#if defined(ZEROTH_FIBERS_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
  }
  HostSwitch(const HostSwitch&) = delete;
  HostSwitch& operator=(const HostSwitch&) = delete;

 private:
#if defined(ZEROTH_FIBERS_ASAN)
  void* fake_stack_ = nullptr;
#endif
};

// The fiber's side: arrive() first, leave() before it switches to the host, arrive() again behind
// that.
class FiberSwitch {
 public:
  void leave() {
    leave_slot();
#if defined(ZEROTH_FIBERS_ASAN)
    __sanitizer_start_switch_fiber(&fake_stack_, host_stack_, host_bytes_);
#endif
  }
  void arrive() {
#if defined(ZEROTH_FIBERS_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, &host_stack_, &host_bytes_);
#endif
  }

 private:
#if defined(ZEROTH_FIBERS_ASAN)
  void* fake_stack_ = nullptr;
  const void* host_stack_ = nullptr;
  size_t host_bytes_ = 0;
#endif
};

}  // namespace zeroth::fibers

#include "kernels/cuda/fibers/block.h"

#if defined(ZEROTH_FIBERS_ASAN) || defined(ZEROTH_FIBERS_TSAN)
#include <atomic>

namespace zeroth::fibers {
namespace {
std::atomic<int> reports{0};
}
bool take_report() { return reports.exchange(0) > 0; }
}  // namespace zeroth::fibers
#endif

// What the sanitizers ask the program for by these names. A report does not end it: fibers.cc makes
// a fault of it, and a test decides.
// NOLINTBEGIN(bugprone-reserved-identifier)
#if defined(ZEROTH_FIBERS_ASAN)
extern "C" {
const char* __asan_default_options() {
  return "halt_on_error=0:suppress_equal_pcs=0:detect_leaks=0:detect_stack_use_after_return=0";
}
void __asan_on_error() { ++zeroth::fibers::reports; }
}
#endif

#if defined(ZEROTH_FIBERS_TSAN)
#include <sanitizer/tsan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

extern "C" {
const char* __tsan_default_options() {
  return "halt_on_error=0:suppress_equal_stacks=0:suppress_equal_addresses=0:history_size=0";
}
void __tsan_on_report(void*) { ++zeroth::fibers::reports; }
// Of the runtime, in no header of g++'s.
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void __tsan_read_range(void* at, unsigned long bytes);
void __tsan_write_range(void* at, unsigned long bytes);
int __tsan_atomic32_fetch_add(volatile int* at, int by, int order);
}

// What the runtime of g++ 12 asks at the end: reports that were waited for are no failure.
namespace __tsan {
bool OnFinalize(bool) { return zeroth::fibers::reports > 0; }
}  // namespace __tsan

namespace zeroth::fibers {
namespace {

constexpr unsigned kGroups = 4;  // of copies that are told apart

// A slot's threads; null: not yet made.
struct Slot {
  void* fiber = nullptr;
  void* copier = nullptr;
  // Orders go by addresses. What several slots know meets at the first of them.
  char meeting, issue, groups[kGroups];
};
Slot all[kSlots];
char launch_key, block_key;
void* host = nullptr;
unsigned used = 0;  // slots of the launch, from 0

void* made(void*& thread) {
  if (!thread) thread = __tsan_create_fiber(0);
  return thread;
}
void become(void* thread) { __tsan_switch_to_fiber(thread, __tsan_switch_to_fiber_no_sync); }

// What the thread has done comes before what is done behind __tsan_acquire(key).
void release(void* thread, void* key) {
  become(thread);
  __tsan_release(key);
}
void acquire(void* thread, void* key) {
  become(thread);
  __tsan_acquire(key);
}

}  // namespace

void begin_launch() {
  host = __tsan_get_current_fiber();
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  used = 0;
}

// The host learns of no block's doing before the launch ends, so that it cannot pass it on.
void begin_block(unsigned first, unsigned count) {
  __tsan_release(&block_key);
  for (unsigned i = first; i < first + count; ++i) acquire(made(all[i].fiber), &block_key);
  become(host);
  used = std::max(used, first + count);
}

void meet(std::span<const unsigned> slots) {
  char* const key = &all[slots.front()].meeting;
  for (const unsigned i : slots) release(all[i].fiber, key);
  for (const unsigned i : slots) acquire(all[i].fiber, key);
  become(host);
}

void end_launch(bool whole) {
  for (Slot& slot : std::span(all).first(used)) {
    for (void* const thread : {slot.fiber, slot.copier}) {
      if (thread) release(thread, &launch_key);
    }
  }
  acquire(host, &launch_key);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  if (whole) return;
  for (Slot& slot : std::span(all).first(used)) {  // fibers that stand somewhere in a kernel
    if (slot.fiber) __tsan_destroy_fiber(slot.fiber);
    slot.fiber = nullptr;
  }
}

int fetch_add(int* at, int by) { return __tsan_atomic32_fetch_add(at, by, __ATOMIC_RELAXED); }

void renew_pages(void* at, size_t bytes) {
  if (bytes == 0) return;
  const void* const got = mmap(at, bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (got != MAP_FAILED) return;
  std::perror("fibers: mmap");
  std::abort();
}

void copy_begins(unsigned slot, unsigned group, void* to, const void* from, size_t bytes) {
  Slot& self = all[slot];
  __tsan_release(&self.issue);
  acquire(made(self.copier), &self.issue);
  __tsan_read_range(const_cast<void*>(from), bytes);
  __tsan_write_range(to, bytes);
  __tsan_release(&self.groups[group % kGroups]);
  become(self.fiber);
}
void copies_arrive(unsigned slot, unsigned group) {
  __tsan_acquire(&all[slot].groups[group % kGroups]);
}

void enter_slot(unsigned slot) { become(all[slot].fiber); }
void leave_slot() { become(host); }

}  // namespace zeroth::fibers
#endif
// NOLINTEND(bugprone-reserved-identifier)

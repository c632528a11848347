// What AddressSanitizer and ThreadSanitizer are told of fibers, barriers and the device's memory, in
// builds with one of them (ZEROTH_FIBERS_ASAN, ZEROTH_FIBERS_TSAN: tests/kernels/tests.cmake). There
// they look at a kernel's accesses instead of watch.cc. Elsewhere nothing here does anything.
#pragma once

#include <cstddef>

#if defined(ZEROTH_FIBERS_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(ZEROTH_FIBERS_TSAN)
#include <sanitizer/tsan_interface.h>

#include <vector>
#endif

namespace zeroth::fibers {

#if defined(ZEROTH_FIBERS_ASAN) || defined(ZEROTH_FIBERS_TSAN)
inline constexpr bool kWatched = false;
#else
inline constexpr bool kWatched = true;  // by watch.cc
#endif

// --- memory that nobody may touch, or may again
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

// --- what was done before `let_pass(key)` comes before what is done behind `pass(key)`
inline void let_pass(void* key) {
#if defined(ZEROTH_FIBERS_TSAN)
  __tsan_release(key);
#else
  static_cast<void>(key);
#endif
}
inline void pass(void* key) {
#if defined(ZEROTH_FIBERS_TSAN)
  __tsan_acquire(key);
#else
  static_cast<void>(key);
#endif
}

// --- switching stacks
// The host's side of a switch: what stands before switch_stack() to fiber `index`, and behind it.
class HostSwitch {
 public:
  HostSwitch(unsigned index, const char* stack, size_t bytes) {
#if defined(ZEROTH_FIBERS_ASAN)
    static_cast<void>(index);
    __sanitizer_start_switch_fiber(&fake_stack_, stack, bytes);
#elif defined(ZEROTH_FIBERS_TSAN)
    static_cast<void>(stack), static_cast<void>(bytes);
    // Kept for ever: fibers that end hand their numbers on, and their past with it.
    static std::vector<void*>& all = *new std::vector<void*>;
    while (all.size() <= index) all.push_back(__tsan_create_fiber(0));
    host() = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(all[index], __tsan_switch_to_fiber_no_sync);
#else
    static_cast<void>(index), static_cast<void>(stack), static_cast<void>(bytes);
#endif
  }
  ~HostSwitch() {
#if defined(ZEROTH_FIBERS_ASAN)
    __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
  }
  HostSwitch(const HostSwitch&) = delete;
  HostSwitch& operator=(const HostSwitch&) = delete;
#if defined(ZEROTH_FIBERS_TSAN)
  static void*& host() {
    static void* fiber = nullptr;
    return fiber;
  }
#endif

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
#if defined(ZEROTH_FIBERS_ASAN)
    __sanitizer_start_switch_fiber(&fake_stack_, host_stack_, host_bytes_);
#elif defined(ZEROTH_FIBERS_TSAN)
    __tsan_switch_to_fiber(HostSwitch::host(), __tsan_switch_to_fiber_no_sync);
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

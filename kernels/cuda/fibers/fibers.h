// Runs CUDA kernels on the CPU, so that they can be tested, and every access checked, without a
// GPU. Every thread of a block is a fiber; the blocks of a launch follow one another, all on the
// thread that called. Kernels are compiled by g++ with -fsanitize=thread, but linked with the
// functions of watch.cc instead of ThreadSanitizer: they see each load and store of a kernel. Two
// more programs are linked with ThreadSanitizer, and compiled for AddressSanitizer (sanitizers.h).
//
// For the tests of one thread; nothing here may be called by several. (The runtime's stand-in,
// runtime.h, may: one thread at a time runs kernels then.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace zeroth::fibers {

struct Index3 {
  unsigned x = 1, y = 1, z = 1;
};

// What a kernel did wrong. The first fault ends its launch.
enum class Kind {
  kLimits,        // more than a device has: threads, shared memory, grid, bytes of parameters
  kHostMemory,    // an address that is neither the device's nor the thread's own
  kOutOfBounds,   // device memory that nobody allocated
  kSharedBounds,  // behind the shared memory of the launch
  kUnwritten,     // read before anybody wrote it
  kRace,          // two threads of a block, no barrier between them
  kBlockRace,     // two blocks of a launch
  kBarrier,       // a __syncthreads that not all threads of the block reach
  kWarp,          // a shuffle, vote or __syncwarp that not all named lanes reach
  kMisaligned,    // a vector or an asynchronous copy
  kAsync,         // a copy that nobody waited for, or whose target was touched before
  kStuck,         // a launch that does not end
  kReported,      // by the sanitizer that looks at accesses in this build
};
const char* name_of(Kind kind);
struct Fault {
  Kind kind;
  std::string what;  // with kernel's block, thread and line where known
};
// The faults since the last call.
std::vector<Fault> take_faults();

// Who looks at the accesses of kernels in this program.
enum class Looker { kWatch, kAddressSanitizer, kThreadSanitizer };
Looker looker();

// In which order blocks and the threads of a block are run. A race that no check sees shows as a
// result that depends on it.
enum class Order { kAscending, kDescending, kShuffled };
// For the launches from now on; {}: every launch takes another one (the default).
void set_order(Order order);
void set_orders_in_turn();

// Runs entry(arguments) as every thread of every block.
void run(Index3 grid, unsigned threads, size_t shared_bytes, const void* arguments, size_t bytes,
         void (*entry)(const void* arguments));

// A launch with these arguments, as they are now.
template <class... P, class... A>
auto launch_of(void (*kernel)(P...), Index3 grid, unsigned threads, size_t shared_bytes,
               const A&... a) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  } const call{kernel, {static_cast<P>(a)...}};
  return [call, grid, threads, shared_bytes] {
    run(grid, threads, shared_bytes, &call, sizeof(call), [](const void* c) {
      const Call& made = *static_cast<const Call*>(c);
      std::apply(made.kernel, made.arguments);
    });
  };
}
template <class... P, class... A>
void launch(void (*kernel)(P...), Index3 grid, unsigned threads, size_t shared_bytes,
            const A&... a) {
  launch_of(kernel, grid, threads, shared_bytes, a...)();
}

// Memory of the device. Its floats are unwritten until the host or a kernel writes them. `offset`
// bytes behind a multiple of 256. The host may read and write it between launches.
void* allocate(size_t bytes, size_t offset = 0);
void release(void* memory);
void mark_written(const void* memory, size_t bytes);

template <class T>
class Array {
 public:
  explicit Array(int64_t count, size_t offset = 0)
      : at_(static_cast<T*>(allocate(static_cast<size_t>(count) * sizeof(T), offset * sizeof(T)))),
        count_(count) {}
  // A copy of the host's values.
  explicit Array(std::span<const T> values, size_t offset = 0)
      : Array(static_cast<int64_t>(values.size()), offset) {
    for (size_t i = 0; i < values.size(); ++i) at_[i] = values[i];
    mark_written(at_, values.size_bytes());
  }
  explicit Array(const std::vector<T>& values, size_t offset = 0)
      : Array(std::span<const T>(values), offset) {}
  ~Array() { release(at_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return at_; }
  int64_t size() const { return count_; }
  std::vector<T> host() const { return {at_, at_ + count_}; }

 private:
  T* at_;
  int64_t count_;
};

}  // namespace zeroth::fibers

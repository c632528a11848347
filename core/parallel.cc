#include "core/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/background_threads.h"
#include "core/error.h"
#include "core/system.h"

namespace zeroth {
namespace {

int default_threads() {
  if (const char* text = std::getenv("ZEROTH_THREADS")) {
    const int n = std::atoi(text);
    if (n < 1 || n > 256) {
      fail_usage(std::string("ZEROTH_THREADS is '") + text + "'",
                 "set it to a number from 1 to 256, or unset it");
    }
    return n;
  }
  if (const int cores = system::usable_cores(); cores > 0) return std::clamp(cores, 1, 256);
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 256u));
}

inline void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Decoding enters a parallel region every few microseconds, so workers spin for a moment before
// they sleep, and a region never waits for a worker that has not joined it: on a busy machine the
// caller does the work alone rather than wait for a thread that the system has put aside. A region
// is dealt in equal runs of indices, always the same run to the same thread, so that what a thread
// has written and the weights it has read are in its own core's caches for the next region; who has
// finished its run helps with the others.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads), runs_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      quit_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  int threads() const { return threads_; }

  // False when another thread's region is running.
  bool run(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
    std::unique_lock region(region_, std::try_to_lock);
    if (!region) return false;
    const int64_t chunks = int64_t{kChunksPerThread} * threads_;
    chunk_ = std::max(grain, (n + chunks - 1) / chunks);
    body_ = &body;
    error_ = nullptr;
    for (int t = 0; t < threads_; ++t) {
      runs_[t].next.store(n * t / threads_, std::memory_order_relaxed);
      runs_[t].end = n * (t + 1) / threads_;
    }
    epoch_ += kEpoch;
    state_.store(epoch_ |
                 kOpen);  // sequentially consistent, as is the look at sleepers_ (see work())
    if (sleepers_.load() > 0) {
      { std::lock_guard lock(mutex_); }
      wake_.notify_all();
    }
    drain(0);
    state_.fetch_and(~kOpen, std::memory_order_acq_rel);
    for (int spins = 0; (state_.load(std::memory_order_acquire) & kInside) != 0; ++spins) {
      if (spins < 4096) {
        pause_core();
      } else {
        sched_yield();
      }
    }
    body_ = nullptr;
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

 private:
  // state_: number of the region, whether workers may still join it, workers inside.
  static constexpr uint64_t kInside = 0xffff, kOpen = 0x10000, kEpoch = 0x20000;

  // The indices of one thread that are still to be done.
  struct alignas(64) Run {
    std::atomic<int64_t> next{0};
    int64_t end = 0;  // written while no worker is inside
  };

  void drain(int thread) {
    for (int i = 0; i < threads_; ++i) drain(runs_[(thread + i) % threads_]);
  }

  void drain(Run& run) {
    // A look first: asking for a chunk takes the line away from its owner.
    while (run.next.load(std::memory_order_relaxed) < run.end) {
      const int64_t begin = run.next.fetch_add(chunk_, std::memory_order_relaxed);
      if (begin >= run.end) return;
      try {
        (*body_)(begin, std::min(begin + chunk_, run.end));
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        for (Run& rest : runs_) rest.next.store(rest.end, std::memory_order_relaxed);
      }
    }
  }

  static bool joinable(uint64_t state, uint64_t seen) {
    return (state & kOpen) != 0 && state / kEpoch != seen;
  }

  // Spins for about 50 microseconds. False: nothing to join yet.
  bool spin(uint64_t seen) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
    do {
      for (int i = 0; i < 32; ++i) {
        if (joinable(state_.load(std::memory_order_relaxed), seen)) return true;
        pause_core();
      }
    } while (std::chrono::steady_clock::now() < until);
    return false;
  }

  void sleep(uint64_t seen) {
    std::unique_lock lock(mutex_);
    sleepers_.fetch_add(1);
    // Either this look sees the region that run() opened, or run() sees this sleeper.
    wake_.wait(lock, [&] { return quit_.load() || joinable(state_.load(), seen); });
    sleepers_.fetch_sub(1);
  }

  void work(int thread) {
    inside_ = true;  // regions that a body opens run inline
    uint64_t seen = 0;
    for (;;) {
      if (!spin(seen)) sleep(seen);
      if (quit_.load()) return;
      uint64_t state = state_.load(std::memory_order_relaxed);
      while (joinable(state, seen)) {
        if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
        seen = state / kEpoch;
        drain(thread);
        state_.fetch_sub(1, std::memory_order_acq_rel);
        break;
      }
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex region_;  // held by the thread whose region runs
  std::mutex mutex_;   // sleeping, and error_
  std::condition_variable wake_;
  std::atomic<bool> quit_{false};
  std::atomic<int> sleepers_{0};
  alignas(64) std::atomic<uint64_t> state_{0};
  std::vector<Run> runs_;  // by thread
  // Of the open region; written while no worker is inside.
  alignas(64) int64_t chunk_ = 1;
  const std::function<void(int64_t, int64_t)>* body_ = nullptr;
  uint64_t epoch_ = 0;
  std::exception_ptr error_;

 public:
  static thread_local bool inside_;
};

thread_local bool Pool::inside_ = false;

std::unique_ptr<Pool>& pool() {
  static std::unique_ptr<Pool> instance = std::make_unique<Pool>(default_threads());
  return instance;
}

thread_local bool in_background = false;
std::mutex background_mutex;  // guards the making of the second pool
std::unique_ptr<Pool> background;

Pool& pool_of_this_thread() {
  if (!in_background) return *pool();
  std::lock_guard lock(background_mutex);
  if (background == nullptr) background = std::make_unique<Pool>(pool()->threads());
  return *background;
}

}  // namespace

BackgroundThreads::BackgroundThreads() { in_background = true; }
BackgroundThreads::~BackgroundThreads() { in_background = false; }

int num_threads() { return pool()->threads(); }

void set_num_threads(int n) {
  if (n < 1 || n > 256) fail_usage("threads is " + std::to_string(n), "use a number from 1 to 256");
  if (pool()->threads() == n) return;
  pool() = std::make_unique<Pool>(n);
  std::lock_guard lock(background_mutex);
  background = nullptr;
}

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  Pool& threads = pool_of_this_thread();
  if (Pool::inside_ || threads.threads() == 1 || n <= grain) return body(0, n);
  struct Inside {
    Inside() { Pool::inside_ = true; }
    ~Inside() { Pool::inside_ = false; }
  } inside;
  if (!threads.run(n, std::max<int64_t>(1, grain), body)) body(0, n);
}

}  // namespace zeroth

#include "core/parallel.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"

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
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

// Workers sleep on a condition variable after a short spin: decoding enters a parallel region every
// few microseconds, and waking a sleeping thread costs more than such a region.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      quit_ = true;
      epoch_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  int threads() const { return threads_; }

  void run(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
    n_ = n;
    // Four chunks a thread balance uneven bodies without losing much to bookkeeping.
    chunk_ = std::max(grain, (n + 4 * threads_ - 1) / (4 * threads_));
    body_ = &body;
    next_.store(0, std::memory_order_relaxed);
    error_ = nullptr;
    pending_.store(threads_ - 1, std::memory_order_relaxed);
    {
      std::lock_guard lock(mutex_);
      epoch_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    drain();
    while (pending_.load(std::memory_order_acquire) != 0) __builtin_ia32_pause();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static constexpr int kSpins = 4000;

  void drain() {
    for (;;) {
      const int64_t begin = next_.fetch_add(chunk_, std::memory_order_relaxed);
      if (begin >= n_) return;
      try {
        (*body_)(begin, std::min(begin + chunk_, n_));
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_.store(n_, std::memory_order_relaxed);
      }
    }
  }

  void work() {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && epoch_.load(std::memory_order_acquire) == seen; ++i)
        __builtin_ia32_pause();
      if (epoch_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
      }
      seen = epoch_.load(std::memory_order_acquire);
      if (quit_) return;
      inside_ = true;
      drain();
      inside_ = false;
      pending_.fetch_sub(1, std::memory_order_release);
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> epoch_{0};
  std::atomic<int> pending_{0};
  std::atomic<int64_t> next_{0};
  int64_t n_ = 0, chunk_ = 1;
  const std::function<void(int64_t, int64_t)>* body_ = nullptr;
  std::exception_ptr error_;
  bool quit_ = false;

 public:
  static thread_local bool inside_;
};

thread_local bool Pool::inside_ = false;

std::unique_ptr<Pool>& pool() {
  static std::unique_ptr<Pool> instance = std::make_unique<Pool>(default_threads());
  return instance;
}

}  // namespace

int num_threads() { return pool()->threads(); }

void set_num_threads(int n) {
  if (n < 1 || n > 256) fail_usage("threads is " + std::to_string(n), "use a number from 1 to 256");
  if (pool()->threads() != n) pool() = std::make_unique<Pool>(n);
}

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (n <= 0) return;
  Pool& threads = *pool();
  if (Pool::inside_ || threads.threads() == 1 || n <= grain) return body(0, n);
  struct Inside {
    Inside() { Pool::inside_ = true; }
    ~Inside() { Pool::inside_ = false; }
  } inside;
  threads.run(n, std::max<int64_t>(1, grain), body);
}

}  // namespace zeroth

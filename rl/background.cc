#include "rl/background.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace zeroth {

// One call at a time, in a thread that ends with the object.
class Background::Thread {
 public:
  Thread() : thread_([this] { serve(); }) {}
  ~Thread() {
    {
      const std::lock_guard lock(mutex_);
      quit_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void start(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = std::move(work);
    }
    wake_.notify_one();
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return quit_ || work_; });
      if (!work_) return;
      const std::function<void()> work = std::move(work_);
      work_ = nullptr;
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::function<void()> work_;  // guarded by mutex_, as is quit_
  bool quit_ = false;
  std::thread thread_;  // last, because it uses the others
};

Background::Background() = default;
Background::~Background() = default;

void Background::start(std::function<void()> work) {
  if (!thread_) thread_ = std::make_unique<Thread>();
  thread_->start(std::move(work));
}

void Background::give_up() { given_up_.push_back(std::move(thread_)); }

}  // namespace zeroth

// Calls that cannot be cut short, such as a reward server's: given up when somebody asks to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/interrupted.h"

namespace zeroth {

// Destroy it before whatever the calls use. Used by one thread at a time.
class Background {
 public:
  Background();
  ~Background();  // waits for calls that were given up
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Result or exception of work(), which runs in a thread that lives as long as this object:
  // processes that it starts may ask to die with their parent thread. When `stop` becomes true
  // before it ends, throws Interrupted within a moment; the call goes on, so it must own what it
  // changes. Null `stop`: an ordinary call.
  template <class Work>
  std::invoke_result_t<Work> run(Work work, const std::atomic<bool>* stop,
                                 const std::string& what) {
    if (stop == nullptr) return work();
    check_stop(stop, what);
    // Shared, because std::function copies.
    const auto task =
        std::make_shared<std::packaged_task<std::invoke_result_t<Work>()>>(std::move(work));
    auto result = task->get_future();
    start([task] { (*task)(); });
    while (result.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
      if (!stop->load()) continue;
      give_up();
      check_stop(stop, what);
    }
    return result.get();
  }

 private:
  class Thread;
  void start(std::function<void()> work);
  void give_up();

  std::unique_ptr<Thread> thread_;  // null before the first call
  std::vector<std::unique_ptr<Thread>> given_up_;
};

}  // namespace zeroth

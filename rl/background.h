// Calls that cannot be cut short, such as a reward server's: given up when somebody asks to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/interrupted.h"

namespace zeroth {

// Destroy it before whatever the calls use. Not thread safe.
class Background {
 public:
  Background() = default;
  ~Background() {
    for (std::thread& thread : given_up_) thread.join();
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // Result or exception of work(), which runs in a thread of its own. When `stop` becomes true
  // before it ends, throws Interrupted within a moment; the call goes on, so it must own what it
  // changes, and the destructor waits for it. Null `stop`: an ordinary call.
  template <class Work>
  std::invoke_result_t<Work> run(Work work, const std::atomic<bool>* stop,
                                 const std::string& what) {
    if (stop == nullptr) return work();
    check_stop(stop, what);
    std::packaged_task<std::invoke_result_t<Work>()> task(std::move(work));
    auto result = task.get_future();
    std::thread thread(std::move(task));
    while (result.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
      if (!stop->load()) continue;
      given_up_.push_back(std::move(thread));
      check_stop(stop, what);
    }
    thread.join();
    return result.get();
  }

 private:
  std::vector<std::thread> given_up_;
};

}  // namespace zeroth

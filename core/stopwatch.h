// Time that passes, whatever becomes of the date.
#pragma once

#include <chrono>

namespace zeroth {

// Seconds of the steady clock since some moment: only differences mean something. Any thread.
inline double steady_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Adds the seconds of its life to `seconds`.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += steady_now() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  const double start_ = steady_now();
};

}  // namespace zeroth

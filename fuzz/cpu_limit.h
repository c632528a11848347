// A limit on the CPU time of one fuzz input. libFuzzer's -timeout counts whole seconds of wall
// clock, which also passes while the machine does something else.
#pragma once

#include <cstdio>
#include <ctime>

namespace zeroth {

class CpuLimit {
 public:
  explicit CpuLimit(double seconds) : limit_(seconds), start_(now()) {}
  // Traps, so that libFuzzer keeps the input.
  ~CpuLimit() {
    const double used = now() - start_;
    if (used <= limit_) return;
    std::fprintf(stderr, "fuzz: %.0f ms of CPU time, the limit is %.0f\n", 1e3 * used,
                 1e3 * limit_);
    __builtin_trap();
  }

 private:
  static double now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  double limit_, start_;
};

}  // namespace zeroth

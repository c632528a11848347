// How long a program was kept from running by others.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>

namespace zeroth::sandbox_detail {

// What the threads of a program did so far, in nanoseconds.
struct TreeTimes {
  struct Times {
    int64_t ran = 0, waited = 0;  // on a core, and ready but without one
  };
  std::map<pid_t, Times> threads;
  int64_t reaped = 0;  // what children ran who ended
};

// Nanoseconds between two looks for which others kept the program from a core. What its own
// processes and threads did to each other is no such time, or it could stretch its limit: a thread
// was kept waiting by others for at least its own wait less the time that the rest of the tree ran,
// and the longest such time counts. 0 when a thread came or went, since one that came and went
// unseen may have run.
int64_t kept_waiting(const TreeTimes& before, const TreeTimes& after);

// Nanoseconds that a program ran between two looks, on all cores. The most there is when it has too
// many threads to look at, or had.
int64_t ran_between(const TreeTimes& before, const TreeTimes& after);

// Adds that up for a running program.
class Patience {
 public:
  // `init`: pid 1 of the namespace. Waiting counts from here on.
  explicit Patience(pid_t init);
  // To be called every so often, not regularly: a program must not know when. Costs some 50 us for
  // a small tree. Seconds so far; 0 where the kernel has no /proc/PID/schedstat.
  double look();
  // Seconds between the last two looks, and those of them, on all cores, that the program ran.
  double between() const { return between_; }
  double ran() const { return ran_; }

 private:
  using Clock = std::chrono::steady_clock;
  const pid_t init_;
  Clock::time_point when_;
  TreeTimes last_;
  double waited_ = 0, between_ = 0, ran_ = 0;
};

}  // namespace zeroth::sandbox_detail

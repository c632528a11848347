// The parent's side of a running job: feeds it, reads what it writes, and ends it in time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <random>

#include "rewards/sandbox/patience.h"
#include "rewards/sandbox/pipe.h"
#include "rewards/sandbox/process_tree.h"
#include "rewards/sandbox/sandbox.h"

namespace zeroth::sandbox_detail {

struct JobPipes {
  Pipe in, out, err, report;
};

class Collector {
 public:
  // `watch_memory`: no control group bounds the memory of the tree, so it is looked at. `lifeline`:
  // see SandboxSeat. All arguments outlive the collector.
  Collector(const SandboxJob& job, bool watch_memory, int lifeline, JobPipes& pipes,
            SandboxResult& result);

  // Until the program has ended (`pidfd` is readable: a stray process that holds a stream open must
  // not delay the verdict), its time is over, it uses too much or its caller has ended. False when
  // the job has to be killed; the result then says why. Time runs from this call on, for each stage
  // of the job (SandboxJob) and for all; time that the program was kept from running by others moves
  // the end of both, up to kMostPatience limits each.
  bool run(pid_t init, int pidfd);

 private:
  using Clock = std::chrono::steady_clock;
  struct Stream {
    Pipe* pipe = nullptr;
    std::string* text = nullptr;
  };
  enum class Event { kNone, kEnded, kOrphaned };
  Event wait(int pidfd, Clock::time_point until);
  void feed();
  bool drain_once();
  bool in_time();
  bool next_stage();
  double stage_limit() const;
  void set_deadline(double waited);
  bool too_much_memory();

  const SandboxJob& job_;
  const bool watch_memory_;
  const int lifeline_;
  SandboxResult& result_;
  Pipe& in_;
  Stream streams_[3];
  size_t fed_ = 0, scanned_ = 0;  // of the input, and of the report for marks of stages
  bool too_long_ = false;
  int stage_ = 1;
  double waited_before_ = 0;  // seconds, in earlier stages
  double looked_ = 0;         // this thread's seconds on a core when the last look ended
  std::optional<Patience> patience_;
  std::optional<TreeMemory> memory_;
  Clock::time_point start_, stage_start_, deadline_, next_look_, next_watch_;
  std::minstd_rand jitter_;
};

}  // namespace zeroth::sandbox_detail

// Reinforcement learning from verifiable rewards: the whole loop is one page, rl/train_loop.cc.
#pragma once

#include <atomic>
#include <functional>

#include "rl/training_run.h"

namespace zeroth {

struct TrainSummary {
  int64_t steps = 0;               // finished, from the start of the run
  bool interrupted = false;        // `stop` was set before the run was finished
  double max_logp_difference = 0;  // over the whole run; 0 is the invariant
  double seconds = 0;              // of this call
};

// Runs the steps that are left and saves a checkpoint at the end. When `stop` becomes true, sampling,
// evaluation and the update end after the running forward call, grading at once, and the step is
// given up; only an update of several mini-batches that has changed weights is finished. Then a
// checkpoint of the last whole step is saved and the call returns.
// `progress`, unless null, is called when the number of finished steps or that of the newest
// checkpoint changes. Throws Error when an alarm that stops the run rings. Weights, metrics
// (timings aside) and traces depend only on the config and the base checkpoint: not on threads, on
// interruptions followed by resume, or on time.
TrainSummary train(TrainingRun& run, const std::atomic<bool>* stop = nullptr,
                   const std::function<void(int64_t finished, int64_t saved)>& progress = {});

// The same step by step, for runs that take turns: begin(), once() while it is true, end(). What
// throws leaves the run as it is, and has said so in its folder.
class TrainLoop {
 public:
  // All must outlive it.
  TrainLoop(TrainingRun& run, const std::atomic<bool>* stop,
            const std::function<void(int64_t finished, int64_t saved)>& progress);
  void begin();
  // Whether a step is left and nobody has asked to stop.
  bool more() const;
  // A step; false when a stop gave it up.
  bool once();
  TrainSummary end();
  int64_t finished() const { return finished_; }

 private:
  void checkpoint();
  void tell();
  void state(const char* name, const std::string& by);
  template <class F>
  auto watched(const F& action);

  TrainingRun& run_;
  const std::atomic<bool>* const stop_;
  const std::function<void(int64_t, int64_t)>& progress_;
  int64_t finished_;
  double recording_ = 0;  // seconds that metrics, scanners and traces of the step before took
  double seconds_ = 0;    // of all calls
  bool incomplete_ = false;
};

}  // namespace zeroth

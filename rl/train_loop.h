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

}  // namespace zeroth

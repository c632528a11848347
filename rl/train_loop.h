// Reinforcement learning from verifiable rewards: the whole loop is one page, rl/train_loop.cc.
#pragma once

#include <atomic>

#include "rl/training_run.h"

namespace zeroth {

struct TrainSummary {
  int64_t steps = 0;               // finished, from the start of the run
  bool interrupted = false;        // `stop` was set before the last step
  double max_logp_difference = 0;  // over the whole run; 0 is the invariant
  double seconds = 0;              // of this call
};

// Runs the steps that are left and saves a checkpoint at the end. When `stop` becomes true, the
// step is finished, a checkpoint is saved, and the call returns. Throws Error when an alarm that
// stops the run rings. Weights, metrics (timings aside) and traces depend only on the config and
// the base checkpoint: not on threads, on interruptions followed by resume, or on time.
TrainSummary train(TrainingRun& run, const std::atomic<bool>* stop = nullptr);

}  // namespace zeroth

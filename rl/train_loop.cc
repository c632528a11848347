#include "rl/train_loop.h"

#include "core/error.h"
#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "rl/train_step.h"

namespace zeroth {
namespace {

// False when a stop gave the step up before anything that the run keeps has changed.
bool make(TrainStep& step) {
  try {
    step.publish();
    step.evaluate();
    step.generate_and_grade();
    step.assign();
    step.pack();
    step.update();
    step.evaluate_end();
    step.record();
  } catch (const Interrupted&) {
    return false;
  }
  return true;
}

}  // namespace

TrainLoop::TrainLoop(TrainingRun& run, const std::atomic<bool>* stop,
                     const std::function<void(int64_t, int64_t)>& progress)
    : run_(run),
      stop_(run.team != nullptr ? run.team->follow(stop) : stop),
      progress_(progress),
      finished_(run.first_step) {}

void TrainLoop::state(const char* name, const std::string& by) {
  if (run_.leads()) write_run_state(run_.folder, name, by, finished_, run_.config.steps);
}

void TrainLoop::tell() {
  if (progress_) progress_(finished_, run_.saved_step);
}

void TrainLoop::checkpoint() {
  run_.save(finished_);
  tell();
}

template <class F>
auto TrainLoop::watched(const F& action) {
  const Stopwatch watch(seconds_);
  try {
    return action();
  } catch (const std::exception& error) {
    if (run_.watch && !run_.watch->gone()) state("failed", error.what());
    throw;
  }
}

void TrainLoop::begin() {
  state("running", "");
  watched([&] {
    if (finished_ == 0) checkpoint();
  });
}

bool TrainLoop::more() const {
  return finished_ < run_.end_step && !(stop_ != nullptr && stop_->load());
}

bool TrainLoop::once() {
  return watched([&] {
    TrainStep step(run_, finished_, stop_, recording_);
    if (!make(step)) return false;
    recording_ = step.recording_seconds();
    ++finished_;
    incomplete_ = !step.complete();
    tell();
    if (!step.fatal().empty()) {
      // Weights that a fault may have reached must not replace the last good checkpoint.
      if (step.sound()) checkpoint();
      fail(step.fatal());
    }
    step.consider_last();
    if (finished_ % run_.config.checkpoint_every == 0) checkpoint();
    return true;
  });
}

TrainSummary TrainLoop::end() {
  TrainSummary summary;
  watched([&] {
    checkpoint();
    if (run_.team != nullptr) run_.team->gather("the end of the run", "");
    const bool stopped = stop_ != nullptr && stop_->load();
    summary.interrupted = incomplete_ || (stopped && finished_ < run_.end_step);
    // Otherwise workers stay and join the resumed run.
    if (run_.parts->fleet != nullptr && !summary.interrupted)
      run_.parts->fleet->coordinator().finish();
  });
  summary.steps = finished_;
  summary.max_logp_difference = run_.counters.max_logp_difference;
  summary.seconds = seconds_;
  state(summary.interrupted || finished_ < run_.config.steps ? "stopped" : "finished", "");
  return summary;
}

TrainSummary train(TrainingRun& run, const std::atomic<bool>* stop,
                   const std::function<void(int64_t, int64_t)>& progress) {
  TrainLoop loop(run, stop, progress);
  loop.begin();
  while (loop.more() && loop.once()) {
  }
  return loop.end();
}

}  // namespace zeroth

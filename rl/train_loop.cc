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

// `finished`: the number of finished steps, kept up to date.
TrainSummary run_steps(TrainingRun& run, const std::atomic<bool>* stop,
                       const std::function<void(int64_t, int64_t)>& progress, int64_t& finished) {
  const double begin = steady_now();
  TrainSummary summary;
  const auto stopped = [&] { return stop != nullptr && stop->load(); };
  const auto tell = [&] {
    if (progress) progress(finished, run.saved_step);
  };
  const auto checkpoint = [&] {
    run.save(finished);
    tell();
  };
  if (finished == 0) checkpoint();

  double recording = 0;  // seconds that metrics, scanners and traces of the step before took
  while (finished < run.end_step && !stopped()) {
    TrainStep step(run, finished, stop, recording);
    if (!make(step)) break;
    recording = step.recording_seconds();
    ++finished;
    summary.interrupted = !step.complete();
    tell();
    if (!step.fatal().empty()) {
      // Weights that a fault may have reached must not replace the last good checkpoint.
      if (step.sound()) checkpoint();
      fail(step.fatal());
    }
    step.consider_last();
    if (finished % run.config.checkpoint_every == 0) checkpoint();
  }
  checkpoint();
  if (run.team != nullptr) run.team->gather("the end of the run", "");
  summary.interrupted |= stopped() && finished < run.end_step;
  summary.steps = finished;
  // Otherwise workers stay and join the resumed run.
  if (run.parts->fleet != nullptr && !summary.interrupted) run.parts->fleet->coordinator().finish();
  summary.max_logp_difference = run.counters.max_logp_difference;
  summary.seconds = steady_now() - begin;
  return summary;
}

}  // namespace

TrainSummary train(TrainingRun& run, const std::atomic<bool>* stop,
                   const std::function<void(int64_t, int64_t)>& progress) {
  int64_t finished = run.first_step;
  if (run.team != nullptr) stop = run.team->follow(stop);
  const auto state = [&](const char* name, const std::string& by) {
    if (run.leads()) write_run_state(run.folder, name, by, finished, run.config.steps);
  };
  state("running", "");
  try {
    const TrainSummary summary = run_steps(run, stop, progress, finished);
    state(summary.interrupted || finished < run.config.steps ? "stopped" : "finished", "");
    return summary;
  } catch (const std::exception& error) {
    if (run.watch && !run.watch->gone()) state("failed", error.what());
    throw;
  }
}

}  // namespace zeroth

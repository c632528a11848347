// One step of a run, as the verbs that rl/train_loop.cc calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "rl/replay.h"
#include "rl/step_metrics.h"
#include "rl/training_run.h"

namespace zeroth {

// The methods are called in the order in which they stand here, each once. Until update() has
// changed weights they throw Interrupted when `stop` becomes true, and nothing that the run keeps
// has changed; a later stop is noticed behind the step.
class TrainStep {
 public:
  // Step number `step` of the run. `recording_before`: seconds that record() took in the step
  // before.
  TrainStep(TrainingRun& run, int64_t step, const std::atomic<bool>* stop, double recording_before);

  // The weights of now become those that the sampler samples with.
  void publish();
  // Held-out accuracy and the probe's traces, in the steps that have them.
  void evaluate();
  // Problems -> prompts -> groups of samples -> verdicts and rewards, by these weights or those of
  // some steps before (section async). One verb: groups are graded while others are sampled, and
  // dynamic sampling samples again what grading leaves out.
  void generate_and_grade();
  // Rewards -> advantages, over the groups that are trained on.
  void assign();
  // Groups -> mini-batches -> leaves: which samples go through the policy together.
  void pack();
  // Packed batches -> loss -> gradient -> AdamW -> the next weights, published. Fills the row and
  // rings the alarms.
  void update();
  // Of the final weights, behind the last step.
  void evaluate_end();
  // The row of metrics and the groups' traces, written.
  void record();
  // The last step's evaluation, which may be the best one and have a checkpoint written.
  void consider_last();

  // The message of an alarm that stops the run; empty: none.
  const std::string& fatal() const { return fatal_; }
  // Whether the weights can be trusted.
  bool sound() const { return sound_; }
  // False when a stop left something out that resuming will not do.
  bool complete() const { return complete_; }
  double recording_seconds() const { return recording_; }

 private:
  bool evaluates() const;  // in the middle of the run
  bool probes() const;
  void sample_with(const WeightsPtr& weights);
  void add_evaluation();
  void record_probe();
  const std::vector<Group>& trained_groups() const {
    return replayed_.empty() ? rollout_.groups : batch_;
  }
  void update_weights();
  void count();
  void ring_alarms();

  TrainingRun& run_;
  RunParts& parts_;
  const int64_t step_;
  const std::atomic<bool>* stop_;
  const bool last_;
  const double recording_before_;
  const StepStart start_;
  WeightsPtr weights_;  // that the step began with, until they have sampled
  Json row_ = Json::object();
  Rollout rollout_;
  Replacements replayed_;     // in the update, of the rollout's groups
  std::vector<Group> batch_;  // what is trained on where some are
  UpdatePlan plan_;
  StepReport report_;
  std::string fatal_;
  bool sound_ = false;
  bool complete_ = true;
  double recording_ = 0;
  Json last_evaluation_;
};

}  // namespace zeroth

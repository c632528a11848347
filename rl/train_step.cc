#include "rl/train_step.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "rl/evaluate.h"
#include "rl/metrics.h"
#include "rl/trace_facts.h"

namespace zeroth {

TrainStep::TrainStep(TrainingRun& run, int64_t step, const std::atomic<bool>* stop,
                     double recording_before)
    : run_(run),
      parts_(*run.parts),
      step_(step),
      stop_(stop),
      last_(step + 1 == run.config.steps),
      recording_before_(recording_before),
      start_(run),
      weights_(parts_.policy->weights()) {}

// The last row's evaluation is of the final weights, so a run of one step has that one only.
bool TrainStep::evaluates() const {
  const int64_t every = run_.config.evaluation.every;
  return every > 0 && step_ % every == 0 && !last_;
}

bool TrainStep::probes() const {
  const int64_t every = run_.config.probe.every;
  return every > 0 && (step_ % every == 0 || last_);
}

// The sampler is the loop's own until the next steps are begun.
void TrainStep::sample_with(const WeightsPtr& weights) {
  parts_.pipeline->drain();
  parts_.sampler->publish(weights);
}

// A pipeline that samples ahead publishes when it may, see generate_and_grade().
void TrainStep::publish() {
  if (evaluates() || probes() || !parts_.pipeline->lagged()) sample_with(weights_);
}

void TrainStep::evaluate() {
  if (evaluates()) {
    add_evaluation();
    run_.consider_best(step_, row_, run_.best.of_evaluation(), true);
  }
  if (probes()) record_probe();
}

void TrainStep::add_evaluation() {
  EvaluationSets::Calls calls;
  calls.stop = stop_;
  calls.background = &parts_.background;
  calls.team = run_.team;
  calls.record = [&](int64_t first, const std::vector<Group>& groups) {
    parts_.recorder->record_groups(step_, GroupSource::kEval, groups, first);
  };
  parts_.evaluations->run(*parts_.sampler, *parts_.tokenizer, calls, row_);
}

// Samples the probe problems with the current weights, for the traces of this step. The draws are
// those of every other step.
void TrainStep::record_probe() {
  const RunConfig& config = run_.config;
  EvalOptions options;
  options.n = config.probe.problems;
  options.samples = config.probe.samples;
  options.sampling = config.sampling;
  options.rubric = config.rubric();
  options.seed = config.seed;
  options.stop = stop_;
  options.background = &parts_.background;
  options.team = run_.team;
  options.screen = parts_.screen.get();
  std::vector<Group> groups;
  options.on_group = [&](const Group& group) { groups.push_back(group); };
  const Json facts =
      zeroth::evaluate(*parts_.sampler, *parts_.tokenizer, *parts_.task, options).to_json();
  for (const char* name : {"avg@K", "mean_length"}) {
    if (facts.contains(name)) row_[std::string("probe/") + name] = facts[name];
  }
  assign_advantages(groups, config.advantage);
  parts_.recorder->record_groups(step_, GroupSource::kProbe, groups);
}

void TrainStep::generate_and_grade() {
  parts_.pipeline->begin(step_, weights_);
  rollout_ = parts_.pipeline->take(step_, stop_);
  if (run_.config.async.mixes())
    add_staleness(*parts_.pipeline, rollout_, step_, weights_->version(), row_);
  weights_ = nullptr;  // whoever samples with them holds them; else the next ones take their memory
}

void TrainStep::assign() {
  assign_advantages(rollout_.groups, run_.config.advantage);
  replayed_ = run_.earlier.choose(step_, rollout_.groups);
  if (!replayed_.empty())
    batch_ = with_replay(rollout_.groups, replayed_, run_.earlier, rollout_.tickets);
}

void TrainStep::pack() { plan_ = parts_.trainer->plan(trained_groups(), step_); }

void TrainStep::update() {
  update_weights();
  count();
  ring_alarms();
}

// Without lag, the sampler lets go of its weights meanwhile, so that the next ones may take their
// memory.
void TrainStep::update_weights() {
  struct Release {
    RunParts& parts;
    explicit Release(RunParts& of) : parts(of) {
      if (!parts.pipeline->lagged()) parts.sampler->publish(nullptr);
    }
    ~Release() {
      if (!parts.pipeline->lagged()) parts.sampler->publish(parts.policy->weights());
    }
  } release(parts_);
  try {
    report_ = parts_.trainer->update(plan_, trained_groups(), rollout_.tickets, stop_);
  } catch (const Interrupted&) {
    parts_.pipeline->put_back(step_, std::move(rollout_));
    throw;
  }
}

void TrainStep::count() {
  RunCounters& counters = run_.counters;
  run_.earlier.settle(step_, rollout_.groups, replayed_);
  // Traces are of what the step has sampled.
  for (const auto& [group, number] : replayed_)
    report_.trained[group].assign(rollout_.groups[group].samples.size(), {});
  if (run_.config.replay.share > 0) row_["replay/groups"] = replayed_.size();
  counters.draws = rollout_.draws;
  counters.num_tokens += rollout_.prompt_tokens + rollout_.sampled_tokens;
  counters.max_logp_difference =
      std::max(counters.max_logp_difference, report_.logp_difference_max);
  row_.update(rollout_metrics(rollout_, parts_.task.get()));
  row_.update(update_metrics(report_, run_.config.loss));
  row_["num_tokens"] = counters.num_tokens;
  row_["epoch"] =
      static_cast<double>(counters.draws) / static_cast<double>(parts_.task->size(Split::kTrain));
  if (run_.config.async.token_budget > 0) row_["sampling/groups_set_aside"] = rollout_.set_aside;
  if (run_.config.async.mixes()) row_["sampling/ess"] = report_.effective_sample_size;
}

// Notes the alarms of the step in the row and on the screen.
void TrainStep::ring_alarms() {
  const StepHealth health = step_health(rollout_, report_);
  for (const Alarm& alarm : run_.alarms.check(health)) {
    row_["alarms"].push_back(alarm.name);
    row_["alarm_messages"][alarm.name] = alarm.message;
    parts_.recorder->note("alarm " + alarm.name + ": " + alarm.message);
    if (alarm.stop) fatal_ = "alarm " + alarm.name + " stopped the run: " + alarm.message;
  }
  sound_ = health.sound();
}

// The update is made, so a stop costs the evaluation, not the step.
void TrainStep::evaluate_end() {
  if (run_.config.evaluation.every == 0 || !last_) return;
  try {
    sample_with(parts_.policy->weights());
    add_evaluation();
    last_evaluation_ = row_;
  } catch (const Interrupted&) {
    complete_ = false;
    parts_.recorder->note("the evaluation at the end was interrupted; run it with zeroth eval");
  }
}

void TrainStep::record() {
  if (!run_.best.of_evaluation()) run_.consider_best(step_, row_, true, false);
  add_timings(run_, start_, rollout_, report_, row_);
  row_["timing/record_before"] = recording_before_;
  const Stopwatch watch(recording_);
  RunRecorder& recorder = *parts_.recorder;
  if (!rollout_.discarded.empty())
    recorder.record_groups(step_, GroupSource::kDiscarded, rollout_.discarded);
  recorder.record(step_, row_, rollout_.groups);
  record_training(recorder, step_, rollout_.groups, report_);
  if (run_.watch) run_.watch->check();
}

void TrainStep::consider_last() {
  if (last_evaluation_.is_object() && run_.best.of_evaluation())
    run_.consider_best(step_ + 1, last_evaluation_, true, true);
}

}  // namespace zeroth

#include "rl/train_loop.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "rl/evaluate.h"
#include "rl/metrics.h"
#include "rl/trace_facts.h"

namespace zeroth {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Held-out accuracy of the current weights, under names that begin with `prefix`.
void add_evaluation(TrainingRun& run, const std::string& prefix, Json& row) {
  const EvaluationConfig& config = run.config.evaluation;
  EvalOptions options;
  options.n = config.problems;
  options.samples = config.samples;
  options.sampling = run.config.sampling;
  options.sampling.temperature = config.temperature;
  options.seed = run.config.seed;
  const EvalReport report = evaluate(*run.engine, *run.tokenizer, *run.task, options);
  const Json facts = report.to_json();
  for (const auto& [name, value] : facts.items()) {
    if (value.is_number()) row[prefix + name] = value;
  }
}

// Samples the probe problems with the current weights, for the traces of this step. The draws are
// those of every other step.
void record_probe(TrainingRun& run, int64_t step, Json& row) {
  EvalOptions options;
  options.n = run.config.probe.problems;
  options.samples = run.config.probe.samples;
  options.sampling = run.config.sampling;
  options.seed = run.config.seed;
  std::vector<Group> groups;
  options.on_group = [&](const Group& group) { groups.push_back(group); };
  const Json facts = evaluate(*run.engine, *run.tokenizer, *run.task, options).to_json();
  for (const char* name : {"avg@K", "mean_length"}) {
    if (facts.contains(name)) row[std::string("probe/") + name] = facts[name];
  }
  assign_advantages(groups, run.config.advantage);
  run.recorder->record_groups(step, GroupSource::kProbe, groups);
}

void add_timings(const TrainingRun& run, const Rollout& rollout, const StepReport& report,
                 double seconds, Json& row) {
  const auto sampled = static_cast<double>(rollout.prompt_tokens + rollout.sampled_tokens);
  const double flops =
      run.flops_per_token * (sampled + 3 * static_cast<double>(report.forward_rows) -
                             static_cast<double>(report.recalled_rows));
  row["step_time"] = seconds;
  row["timing/generate"] = rollout.generate_seconds;
  row["timing/grade"] = rollout.grade_seconds;
  row["timing/update"] = report.seconds;
  row["timing/tokens_per_s"] = static_cast<double>(rollout.sampled_tokens) / seconds;
  row["timing/mfu"] = flops / seconds / run.peak_flops;
}

// Notes the alarms of the step in the row and on the screen; returns the message of one that stops
// the run.
std::string ring_alarms(TrainingRun& run, const StepHealth& health, Json& row) {
  std::string fatal;
  for (const Alarm& alarm : run.alarms.check(health)) {
    row["alarms"].push_back(alarm.name);
    run.recorder->note("alarm " + alarm.name + ": " + alarm.message);
    if (alarm.stop) fatal = "alarm " + alarm.name + " stopped the run: " + alarm.message;
  }
  return fatal;
}

}  // namespace

TrainSummary train(TrainingRun& run, const std::atomic<bool>* stop) {
  const RunConfig& config = run.config;
  const double begin = now();
  TrainSummary summary;
  if (run.first_step == 0) run.save(0);

  double recording = 0;  // seconds that metrics, scanners and traces of the step before took
  int64_t step = run.first_step;
  for (; step < config.steps && !summary.interrupted; ++step) {
    const double start = now();
    Json row = Json::object();
    const int64_t every = config.evaluation.every;
    if (every > 0 && step % every == 0) add_evaluation(run, "eval/", row);

    const int64_t probe_every = config.probe.every;
    if (probe_every > 0 && (step % probe_every == 0 || step + 1 == config.steps))
      record_probe(run, step, row);

    // Problems -> prompts -> groups of samples -> verdicts -> advantages, by the published weights.
    const Rollout rollout = run.rollouts->collect(step, run.counters.draws);
    // -> packed batches -> loss -> gradient -> AdamW -> the next weights, published.
    const StepReport report = run.trainer->update(rollout.groups, step);

    run.counters.num_tokens += rollout.prompt_tokens + rollout.sampled_tokens;
    run.counters.max_logp_difference =
        std::max(run.counters.max_logp_difference, report.logp_difference_max);
    row.update(rollout_metrics(rollout));
    row.update(update_metrics(report, config.loss));
    row["num_tokens"] = run.counters.num_tokens;
    row["epoch"] = static_cast<double>(run.counters.draws) /
                   static_cast<double>(run.task->size(Split::kTrain));
    const std::string fatal = ring_alarms(run, step_health(rollout, report), row);
    const bool last = step + 1 == config.steps;
    if (every > 0 && last) add_evaluation(run, "eval_end/", row);
    add_timings(run, rollout, report, now() - start, row);
    row["timing/record_before"] = recording;
    const double finished = now();
    if (!rollout.discarded.empty())
      run.recorder->record_groups(step, GroupSource::kDiscarded, rollout.discarded);
    run.recorder->record(step, row, rollout.groups);
    record_training(*run.recorder, step, rollout.groups, report);
    recording = now() - finished;

    if (!fatal.empty()) {
      // Weights that a fault may have reached must not replace the last good checkpoint.
      if (step_health(rollout, report).sound()) run.save(step + 1);
      fail(fatal);
    }
    summary.interrupted = stop != nullptr && *stop && !last;
    if (last || summary.interrupted || (step + 1) % config.checkpoint_every == 0)
      run.save(step + 1);
  }
  summary.steps = step;
  summary.max_logp_difference = run.counters.max_logp_difference;
  summary.seconds = now() - begin;
  return summary;
}

}  // namespace zeroth

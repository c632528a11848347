#include "rl/train_loop.h"

#include <algorithm>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "rl/evaluate.h"
#include "rl/metrics.h"
#include "rl/trace_facts.h"

namespace zeroth {
namespace {

// Held-out accuracy of the current weights, as eval/.. in the row of `step`.
void add_evaluation(TrainingRun& run, int64_t step, Json& row, const std::atomic<bool>* stop) {
  EvaluationSets::Calls calls;
  calls.stop = stop;
  calls.background = &run.background;
  calls.team = run.team;
  calls.record = [&](int64_t first, const std::vector<Group>& groups) {
    run.recorder->record_groups(step, GroupSource::kEval, groups, first);
  };
  run.evaluations->run(*run.sampler, *run.tokenizer, calls, row);
}

// Samples the probe problems with the current weights, for the traces of this step. The draws are
// those of every other step.
void record_probe(TrainingRun& run, int64_t step, Json& row, const std::atomic<bool>* stop) {
  EvalOptions options;
  options.n = run.config.probe.problems;
  options.samples = run.config.probe.samples;
  options.sampling = run.config.sampling;
  options.rubric = run.config.rubric();
  options.seed = run.config.seed;
  options.stop = stop;
  options.background = &run.background;
  options.team = run.team;
  options.screen = run.screen.get();
  std::vector<Group> groups;
  options.on_group = [&](const Group& group) { groups.push_back(group); };
  const Json facts = evaluate(*run.sampler, *run.tokenizer, *run.task, options).to_json();
  for (const char* name : {"avg@K", "mean_length"}) {
    if (facts.contains(name)) row[std::string("probe/") + name] = facts[name];
  }
  assign_advantages(groups, run.config.advantage);
  run.recorder->record_groups(step, GroupSource::kProbe, groups);
}

void add_timings(TrainingRun& run, const Rollout& rollout, const StepReport& report, double seconds,
                 Json& row) {
  const auto sampled = static_cast<double>(rollout.prompt_tokens + rollout.sampled_tokens);
  const double flops =
      run.flops_per_token * (sampled + 3 * static_cast<double>(report.forward_rows) -
                             static_cast<double>(report.recalled_rows));
  row["step_time"] = seconds;
  row["timing/generate"] = rollout.generate_seconds;
  row["timing/grade"] = rollout.grade_seconds;
  row["timing/update"] = report.seconds;
  row["timing/tokens_per_s"] = static_cast<double>(rollout.sampled_tokens) / seconds;
  // The peak is measured at the start, maybe beside other work; what was reached since is a peak too.
  if (run.team == nullptr) run.peak_flops = std::max(run.peak_flops, flops / seconds);
  const double ranks = run.team != nullptr ? run.team->size() : 1;
  row["timing/mfu"] = flops / seconds / (ranks * run.peak_flops);
  if (run.fleet != nullptr) row["timing/workers"] = run.fleet->coordinator().workers();
}

// What each rank spent its time on; of all ranks in the row that rank 0 writes.
void add_rank_timings(TrainingRun& run, const Rollout& rollout, const StepReport& report,
                      double waited_before, int64_t sent_before, Json& row) {
  const Json mine = {{"generate", rollout.generate_seconds},
                     {"grade", rollout.grade_seconds},
                     {"update", report.seconds},
                     {"exchange", run.team->waited_seconds() - waited_before},
                     {"sent_mb", static_cast<double>(run.team->sent_bytes() - sent_before) / 1e6}};
  double sent = 0;
  const auto all = run.team->gather("timings", mine.dump());
  for (size_t r = 0; r < all.size(); ++r) {
    const Json theirs = parse_json(all[r], "the timings of rank " + std::to_string(r));
    for (const auto& [name, value] : theirs.items())
      row["timing/rank_" + std::to_string(r) + "/" + name] = value;
    sent += theirs.at("sent_mb").get<double>();
  }
  row["timing/sent_mb"] = sent;
}

// How old the weights were that drew the tokens, when training on them begins.
void add_staleness(const RolloutPipeline& pipeline, const Rollout& rollout, int64_t step,
                   WeightsVersion now, Json& row) {
  double sum = 0, most = 0, tokens = 0;
  for (const Group& group : rollout.groups) {
    for (const Sample& sample : group.samples) {
      const auto length = static_cast<int32_t>(sample.tokens.size());
      for (size_t i = 0; i < sample.versions.size(); ++i) {
        const VersionSegment& segment = sample.versions[i];
        const bool last = i + 1 == sample.versions.size();
        const double drawn = (last ? length : sample.versions[i + 1].first) - segment.first;
        const auto age = static_cast<double>(pipeline.staleness(step, now, segment.version));
        sum += age * drawn;
        tokens += drawn;
        most = std::max(most, age);
      }
    }
  }
  row["sampling/staleness/mean"] = sum / std::max(1.0, tokens);
  row["sampling/staleness/max"] = most;
  row["sampling/groups_discarded"] = pipeline.discarded();
}

// Notes the alarms of the step in the row and on the screen; returns the message of one that stops
// the run.
std::string ring_alarms(TrainingRun& run, const StepHealth& health, Json& row) {
  std::string fatal;
  for (const Alarm& alarm : run.alarms.check(health)) {
    row["alarms"].push_back(alarm.name);
    row["alarm_messages"][alarm.name] = alarm.message;
    run.recorder->note("alarm " + alarm.name + ": " + alarm.message);
    if (alarm.stop) fatal = "alarm " + alarm.name + " stopped the run: " + alarm.message;
  }
  return fatal;
}

// One step of the loop. Throws Interrupted before anything that the run keeps has changed; a stop
// during the update is noticed after it.
class Step {
 public:
  Step(TrainingRun& run, int64_t step, const std::atomic<bool>* stop)
      : run_(run), step_(step), stop_(stop), last_(step + 1 == run.config.steps) {}

  // Returns the message of an alarm that stops the run.
  std::string run(double& recording_seconds) {
    const double start = steady_now();
    const double waited = run_.team != nullptr ? run_.team->waited_seconds() : 0;
    const int64_t sent = run_.team != nullptr ? run_.team->sent_bytes() : 0;
    Json row = Json::object();
    const WeightsPtr weights = run_.policy->weights();
    const int64_t every = run_.config.evaluation.every;
    const int64_t probe_every = run_.config.probe.every;
    const bool evaluates = every > 0 && step_ % every == 0 && !last_;
    const bool probes = probe_every > 0 && (step_ % probe_every == 0 || last_);
    if (evaluates || probes || !run_.pipeline->lagged()) sample_with(weights);
    // The last row's evaluation is of the final weights, so a run of one step has that one only.
    if (evaluates) {
      add_evaluation(run_, step_, row, stop_);
      run_.consider_best(step_, row, of_evaluation(run_.config.keep_best), true);
    }
    if (probes) record_probe(run_, step_, row, stop_);

    // Problems -> prompts -> groups of samples -> verdicts -> advantages, by these weights, or by
    // those of some steps before.
    run_.pipeline->begin(step_, weights);
    Rollout rollout = run_.pipeline->take(step_, stop_);
    if (run_.pipeline->lagged())
      add_staleness(*run_.pipeline, rollout, step_, weights->version(), row);
    // -> packed batches -> loss -> gradient -> AdamW -> the next weights, published.
    const StepReport report = update(rollout);

    count(rollout, report, row);
    if (run_.pipeline->lagged()) row["sampling/ess"] = report.effective_sample_size;
    const StepHealth health = step_health(rollout, report);
    const std::string fatal = ring_alarms(run_, health, row);
    sound_ = health.sound();
    if (every > 0 && last_) evaluate_end(row);
    if (!of_evaluation(run_.config.keep_best)) run_.consider_best(step_, row, true, false);
    add_timings(run_, rollout, report, steady_now() - start, row);
    if (run_.team != nullptr) add_rank_timings(run_, rollout, report, waited, sent, row);
    row["timing/record_before"] = recording_seconds;
    const double finished = steady_now();
    if (!rollout.discarded.empty())
      run_.recorder->record_groups(step_, GroupSource::kDiscarded, rollout.discarded);
    run_.recorder->record(step_, row, rollout.groups);
    record_training(*run_.recorder, step_, rollout.groups, report);
    if (run_.watch) run_.watch->check();
    recording_seconds = steady_now() - finished;
    return fatal;
  }

  // Whether the weights can be trusted after run().
  bool sound() const { return sound_; }
  // False when a stop left something out that resuming will not do.
  bool complete() const { return complete_; }
  // To be called when the row is recorded and the last step's checkpoint may be written.
  void consider_last() {
    if (last_evaluation_.is_object() && of_evaluation(run_.config.keep_best))
      run_.consider_best(step_ + 1, last_evaluation_, true, true);
  }

 private:
  // The sampler is the loop's own until the next steps are begun.
  void sample_with(const WeightsPtr& weights) {
    run_.pipeline->drain();
    run_.sampler->publish(weights);
  }

  // Without lag, the sampler lets go of its weights meanwhile, so that the next ones may take their
  // memory.
  StepReport update(Rollout& rollout) {
    struct Release {
      TrainingRun& run;
      explicit Release(TrainingRun& of) : run(of) {
        if (!run.pipeline->lagged()) run.sampler->publish(nullptr);
      }
      ~Release() {
        if (!run.pipeline->lagged()) run.sampler->publish(run.policy->weights());
      }
    } release(run_);
    try {
      return run_.trainer->update(rollout.groups, step_, rollout.tickets, stop_);
    } catch (const Interrupted&) {
      run_.pipeline->put_back(step_, std::move(rollout));
      throw;
    }
  }

  void count(const Rollout& rollout, const StepReport& report, Json& row) {
    RunCounters& counters = run_.counters;
    counters.draws = rollout.draws;
    counters.num_tokens += rollout.prompt_tokens + rollout.sampled_tokens;
    counters.max_logp_difference =
        std::max(counters.max_logp_difference, report.logp_difference_max);
    row.update(rollout_metrics(rollout, run_.task.get()));
    row.update(update_metrics(report, run_.config.loss));
    row["num_tokens"] = counters.num_tokens;
    row["epoch"] =
        static_cast<double>(counters.draws) / static_cast<double>(run_.task->size(Split::kTrain));
  }

  // The update is made, so a stop costs the evaluation, not the step.
  void evaluate_end(Json& row) {
    try {
      sample_with(run_.policy->weights());
      add_evaluation(run_, step_, row, stop_);
      last_evaluation_ = row;
    } catch (const Interrupted&) {
      complete_ = false;
      run_.recorder->note("the evaluation at the end was interrupted; run it with zeroth eval");
    }
  }

  static bool of_evaluation(const std::string& metric) {
    return metric.starts_with("eval/") || metric.starts_with("-eval/");
  }

  TrainingRun& run_;
  int64_t step_;
  const std::atomic<bool>* stop_;
  bool last_;
  bool sound_ = false;
  bool complete_ = true;
  Json last_evaluation_;
};

// `finished`: the number of finished steps, kept up to date.
TrainSummary run_steps(TrainingRun& run, const std::atomic<bool>* stop,
                       const std::function<void(int64_t, int64_t)>& progress, int64_t& finished) {
  const RunConfig& config = run.config;
  const double begin = steady_now();
  TrainSummary summary;
  const auto stopped = [&] { return stop != nullptr && stop->load(); };
  const auto tell = [&] {
    if (progress) progress(finished, run.saved_step);
  };
  const auto save = [&] {
    run.save(finished);
    tell();
  };
  if (finished == 0) save();

  double recording = 0;  // seconds that metrics, scanners and traces of the step before took
  while (finished < run.end_step && !stopped()) {
    Step step(run, finished, stop);
    std::string fatal;
    try {
      fatal = step.run(recording);
    } catch (const Interrupted&) {
      break;
    }
    ++finished;
    summary.interrupted = !step.complete();
    tell();
    if (!fatal.empty()) {
      // Weights that a fault may have reached must not replace the last good checkpoint.
      if (step.sound()) save();
      fail(fatal);
    }
    step.consider_last();
    if (finished % config.checkpoint_every == 0) save();
  }
  save();
  if (run.team != nullptr) run.team->gather("the end of the run", "");
  summary.interrupted |= stopped() && finished < run.end_step;
  summary.steps = finished;
  // Otherwise workers stay and join the resumed run.
  if (run.fleet != nullptr && !summary.interrupted) run.fleet->coordinator().finish();
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

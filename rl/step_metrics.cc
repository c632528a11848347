#include "rl/step_metrics.h"

#include <algorithm>
#include <string>

#include "core/stopwatch.h"
#include "rl/metrics.h"

namespace zeroth {
namespace {

// What each rank spent its time on; of all ranks in the row that rank 0 writes.
void add_rank_timings(Team& team, const StepStart& start, const Rollout& rollout,
                      const StepReport& report, Json& row) {
  const Json mine = {{"generate", rollout.generate_seconds},
                     {"grade", rollout.grade_seconds},
                     {"update", report.seconds},
                     {"exchange", team.waited_seconds() - start.waited},
                     {"sent_mb", static_cast<double>(team.sent_bytes() - start.sent) / 1e6}};
  double sent = 0;
  const auto all = team.gather("timings", mine.dump());
  for (size_t r = 0; r < all.size(); ++r) {
    const Json theirs = parse_json(all[r], "the timings of rank " + std::to_string(r));
    for (const auto& [name, value] : theirs.items())
      row["timing/rank_" + std::to_string(r) + "/" + name] = value;
    sent += theirs.at("sent_mb").get<double>();
  }
  row["timing/sent_mb"] = sent;
}

// What a step has cost this process, and per right answer.
void add_cost(const ProcessCost& before, const Rollout& rollout, Json& row) {
  const ProcessCost now = process_cost();
  const auto right = static_cast<double>(right_samples(rollout));
  const double cores = now.core_seconds - before.core_seconds;
  row["timing/core_seconds"] = cores;
  row["timing/memory_peak_mb"] = now.peak_mb;
  if (right > 0) row["timing/core_seconds_per_correct"] = cores / right;
  if (!now.joules || !before.joules) return;
  row["timing/joules"] = *now.joules - *before.joules;
  if (right > 0) row["timing/joules_per_correct"] = (*now.joules - *before.joules) / right;
}

}  // namespace

StepStart::StepStart(const TrainingRun& run) : time(steady_now()) {
  if (run.team == nullptr) return;
  waited = run.team->waited_seconds();
  sent = run.team->sent_bytes();
}

void add_timings(TrainingRun& run, const StepStart& start, const Rollout& rollout,
                 const StepReport& report, Json& row) {
  const double seconds = steady_now() - start.time;
  const auto sampled = static_cast<double>(rollout.prompt_tokens + rollout.sampled_tokens);
  const double flops =
      run.parts->flops_per_token * (sampled + 3 * static_cast<double>(report.forward_rows) -
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
  if (rollout.forward_calls > 0) {
    row["timing/mean_batch"] =
        static_cast<double>(rollout.sampled_tokens) / static_cast<double>(rollout.forward_calls);
    row["timing/draft_tokens"] = rollout.draft_tokens;
    row["timing/draft_accepted"] = rollout.draft_accepted;
    row["timing/draft_accepted_per_call"] =
        static_cast<double>(rollout.draft_accepted) / static_cast<double>(rollout.forward_calls);
  }
  add_cost(start.cost, rollout, row);
  if (run.parts->fleet != nullptr)
    row["timing/workers"] = run.parts->fleet->coordinator().workers();
  if (run.team != nullptr) add_rank_timings(*run.team, start, rollout, report, row);
}

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

}  // namespace zeroth

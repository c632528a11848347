// What a row of metrics.jsonl says of the step itself: its time, on every rank, and how old the
// weights were that it was sampled with.
#pragma once

#include <cstdint>

#include "core/process_cost.h"
#include "rl/training_run.h"

namespace zeroth {

// Marks the moment and what the ranks had exchanged then.
struct StepStart {
  ProcessCost cost = process_cost();
  explicit StepStart(const TrainingRun& run);
  double time = 0;
  double waited = 0;  // seconds for other ranks
  int64_t sent = 0;   // bytes to them
};

// step_time, timing/..; of the ranks timing/rank_R/.. . With a team all ranks call it.
void add_timings(TrainingRun& run, const StepStart& start, const Rollout& rollout,
                 const StepReport& report, Json& row);

// sampling/staleness/.. and sampling/groups_discarded of a step that began with weights of version
// `now`: how old the weights were that drew the tokens, when training on them begins.
void add_staleness(const RolloutPipeline& pipeline, const Rollout& rollout, int64_t step,
                   WeightsVersion now, Json& row);

}  // namespace zeroth

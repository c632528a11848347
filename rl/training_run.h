// A run on disk and in memory: begun, resumed or made again, and saved. What it is made of stands in
// rl/run_parts.h, what it remembers of its past in rl/run_history.h.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "ranks/team.h"
#include "rl/alarms.h"
#include "rl/best_metric.h"
#include "rl/checkpoint.h"
#include "rl/replay.h"
#include "rl/run_config.h"
#include "rl/run_folder.h"
#include "rl/run_history.h"
#include "rl/run_parts.h"

namespace zeroth {

// What the loop counts besides steps; saved with every checkpoint.
struct RunCounters {
  int64_t draws = 0;       // problems drawn so far
  int64_t num_tokens = 0;  // prompt and sampled tokens so far
  double max_logp_difference = 0;
};

// What a resumed run may do that makes it another one.
struct ResumeOptions {
  std::vector<std::string> changed;  // fields of the config that are changed from here on
  bool accept_changed_data = false;  // go on although files of the task changed
};

// Members in the order in which they are built; each uses those above it. Not movable.
struct TrainingRun {
  // A new run in `folder`, which is created and must not hold a run yet. `team`: the ranks that
  // make the run together, each with such an object, all with the same arguments; the folder is
  // on a file system that all see. Only rank 0 writes. Null: this process is alone. `base`: see
  // PartsSource.
  static std::unique_ptr<TrainingRun> create(const std::filesystem::path& folder,
                                             const RunConfig& config, Team* team = nullptr,
                                             const Policy* base = nullptr);
  // Goes on from the folder's newest intact checkpoint. Metrics and traces are cut back to it; what
  // is cut stays in RUN/set-aside until the next checkpoint is safe. `config` is what to run from
  // now on (usually read from RUN/config.json); a field that would make it another run is refused
  // (see free_fields) unless it is among options.changed. So are files of the task that are not
  // those the run was started with. What changed is said and added to the history in
  // RUN/config.json, as is what metrics and traces should hold and do not. A run that died before
  // its first checkpoint starts from the beginning; one that has lost its checkpoints is refused.
  // Both throw Error when another process uses the folder.
  static std::unique_ptr<TrainingRun> resume(const std::filesystem::path& folder,
                                             const RunConfig& config,
                                             const ResumeOptions& options = {},
                                             Team* team = nullptr, const Policy* base = nullptr);

  // A new run in `folder` that makes the steps of the run `other` again from its journal (async.
  // max_staleness), in this process: the same bytes of weights, metrics (timings aside) and traces.
  // Throws Error when the other run has no journal, its files or its data are not what they were, or
  // when it was changed on its way.
  static std::unique_ptr<TrainingRun> replay(const std::filesystem::path& other,
                                             const std::filesystem::path& folder);

  // A checkpoint; nothing when the last one is of this step.
  void save(int64_t step);
  // Takes note of metric keep_best in `row`, which weights after `step` steps gave. A value that is
  // better becomes the best one when there is a checkpoint of these weights, or `can_save` says
  // that they are still in place, so that one is written. `expected`: see BestMetric::find.
  void consider_best(int64_t step, const Json& row, bool expected, bool can_save);
  // The prompt of training problem 0 as the policy sees it; see PromptEncoder::report.
  std::string prompt_report() const;
  // Whether this process writes the run's folder and speaks for it.
  bool leads() const { return team == nullptr || team->first(); }

  std::filesystem::path folder;
  RunConfig config;
  Team* team = nullptr;
  std::optional<FolderLock> lock;    // of the process that leads, as is
  std::optional<FolderWatch> watch;  // this
  RunHistory history;
  int64_t first_step = 0;   // the next one to run
  int64_t end_step = 0;     // the last one behind it: config.steps, or what a replay has
  int64_t saved_step = -1;  // of the newest checkpoint, -1 before the first
  RunCounters counters;
  GroupReplay earlier;  // groups that may be trained on again
  BestMetric best;
  Alarms alarms;
  std::unique_ptr<RunParts> parts;
  double peak_flops = 0;  // of this machine, measured at the start

 private:
  TrainingRun(const std::filesystem::path& folder, const RunConfig& config, Team* team);
  // `reference`: where the reference policy's weights come from, when there is one. `replay`: see
  // PartsSource.
  void open(const std::filesystem::path& model, const std::filesystem::path& reference,
            const std::filesystem::path& replay = {}, const Policy* base = nullptr);
  // The recorded config, which the new one may go on from; null: none is there yet.
  Json check_recorded(const ResumeOptions& options);
  void restore(const TrainingCheckpoint& checkpoint, const ResumeOptions& options);
  void restore_state(const TrainingCheckpoint& checkpoint, const ResumeOptions& options);
  void restore_pending(const TrainingCheckpoint& checkpoint);
  void check_same_ranks() const;
  void check_zero() const;
  Json fingerprint() const;

  Json before_;  // the stages that made the base (model/formats/provenance.h)
};

// RUN/config.json of an existing run, with overrides applied. Throws Error when the folder holds no
// run.
RunConfig recorded_config(const std::filesystem::path& folder,
                          const std::vector<std::string>& overrides);

}  // namespace zeroth

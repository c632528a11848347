// A run on disk and in memory: opened new or resumed, with everything the train loop calls.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "core/files.h"
#include "policy/policy.h"
#include "ranks/team.h"
#include "record/run_recorder.h"
#include "rl/alarms.h"
#include "rl/checkpoint.h"
#include "rl/elastic_pipeline.h"
#include "rl/evaluation_sets.h"
#include "rl/prompt_screen.h"
#include "rl/rollouts.h"
#include "rl/run_config.h"
#include "rl/run_folder.h"
#include "rl/trainer.h"
#include "rollout/fleet/fleet_sampler.h"
#include "tasks/task.h"
#include "text/tokenizer.h"

namespace zeroth {

// What the loop counts besides steps; saved with every checkpoint.
struct RunCounters {
  int64_t draws = 0;       // problems drawn so far
  int64_t num_tokens = 0;  // prompt and sampled tokens so far
  double max_logp_difference = 0;
  // The best value of keep_best so far and the number of steps that the weights had; -1: none yet.
  int64_t best_step = -1;
  double best_value = 0;
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
  // on a file system that all see. Only rank 0 writes. Null: this process is alone.
  static std::unique_ptr<TrainingRun> create(const std::filesystem::path& folder,
                                             const RunConfig& config, Team* team = nullptr);
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
                                             Team* team = nullptr);

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
  // that they are still in place, so that one is written. Throws Error(kUsage) when the row, which
  // must have the metric if `expected`, has not.
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
  RunNotes notes;
  int64_t first_step = 0;   // the next one to run
  int64_t end_step = 0;     // the last one behind it: config.steps, or what a replay has
  int64_t saved_step = -1;  // of the newest checkpoint, -1 before the first
  RunCounters counters;
  std::unique_ptr<Task> task;
  std::unique_ptr<PromptScreen> screen;
  std::unique_ptr<EvaluationSets> evaluations;
  std::unique_ptr<Task> candidate_task;  // grades candidate answers where `task` must not
  std::unique_ptr<Tokenizer> tokenizer;
  TokenizerFiles tokenizer_files;
  std::unique_ptr<Policy> policy;
  std::unique_ptr<Trainer> trainer;
  std::unique_ptr<Sampler> sampler;
  fleet::FleetSampler* fleet = nullptr;  // the sampler, when workers draw the samples
  Background background;                 // of grading that a stop gave up
  std::unique_ptr<Rollouts> rollouts;
  std::unique_ptr<RolloutPipeline> pipeline;
  ElasticPipeline* elastic = nullptr;  // the pipeline, with async.max_staleness
  Alarms alarms;
  std::unique_ptr<RunRecorder> recorder;
  double peak_flops = 0;       // of this machine, measured at the start
  double flops_per_token = 0;  // of one forward pass

 private:
  TrainingRun(const std::filesystem::path& folder, const RunConfig& config, Team* team);
  // `reference`: where the reference policy's weights come from, when there is one.
  void open(const std::filesystem::path& model, const std::filesystem::path& reference);
  void open_sampler();
  void open_pipeline();
  std::unique_ptr<Sampler> fleet_sampler();
  void open_recorder();
  void restore_pending(const TrainingCheckpoint& checkpoint);
  void restore(const TrainingCheckpoint& checkpoint, const ResumeOptions& options);
  void check_same_weights() const;
  Json fingerprint() const;
  void refuse_changed_inputs(const ResumeOptions& options);
  void note_resumption(const Json& recorded);
  std::filesystem::path replayed_;  // the other run, in a replay
  std::vector<std::string> changed_inputs_;
};

// RUN/config.json of an existing run, with overrides applied. Throws Error when the folder holds no
// run.
RunConfig recorded_config(const std::filesystem::path& folder,
                          const std::vector<std::string>& overrides);

}  // namespace zeroth

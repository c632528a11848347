// What a run is made of in memory: built once from its config and a model.
#pragma once

#include <filesystem>
#include <memory>

#include "learn/expert_team.h"
#include "policy/policy.h"
#include "ranks/team.h"
#include "record/run_recorder.h"
#include "rl/background.h"
#include "rl/checkpoint.h"
#include "rl/elastic_pipeline.h"
#include "rl/evaluation_sets.h"
#include "rl/prompt_screen.h"
#include "rl/rollouts.h"
#include "rl/run_config.h"
#include "rl/trainer.h"
#include "rollout/fleet/fleet_sampler.h"
#include "tasks/task.h"
#include "text/tokenizer.h"

namespace zeroth {

// Where the parts of a run come from.
struct PartsSource {
  std::filesystem::path folder;     // of the run
  std::filesystem::path model;      // a checkpoint folder or GGUF file
  std::filesystem::path reference;  // the reference policy's, when loss.beta asks for one
  const Policy* base = nullptr;     // with lora: one whose base is this run's too; null: its own
  std::filesystem::path replay;     // a run to be made again from its journal; empty: none
  Team* team = nullptr;             // see TrainingRun::create
};

// Members in the order in which they are built; each uses those above it. Not movable; one thread.
struct RunParts {
  // `config` must outlive it. The rank that leads says what there is to know of the model and the
  // rows. Throws Error for a model, a task or rows that can't be used.
  RunParts(const RunConfig& config, const PartsSource& source);

  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Task> task;
  TokenizerFiles tokenizer_files;
  std::shared_ptr<ExpertTeam> experts;  // with ranks.expert_parallel
  std::unique_ptr<Policy> policy;
  std::unique_ptr<PromptScreen> screen;
  std::unique_ptr<EvaluationSets> evaluations;
  std::unique_ptr<Trainer> trainer;
  std::unique_ptr<Sampler> sampler;
  fleet::FleetSampler* fleet = nullptr;  // the sampler, when workers draw the samples
  Background background;                 // of grading that a stop gave up
  std::unique_ptr<Rollouts> rollouts;
  std::unique_ptr<RolloutPipeline> pipeline;
  ElasticPipeline* elastic = nullptr;    // the pipeline, with async.max_staleness
  std::unique_ptr<Task> candidate_task;  // grades candidate answers where `task` must not
  std::unique_ptr<RunRecorder> recorder;
  double flops_per_token = 0;  // of one forward pass

 private:
  void open_policy(const RunConfig& config, const PartsSource& source, bool leads);
  void open_trainer(const RunConfig& config, const PartsSource& source);
  void open_sampler(const RunConfig& config, const PartsSource& source, bool leads);
  std::unique_ptr<Sampler> fleet_sampler(const RunConfig& config, const PartsSource& source);
  void open_pipeline(const RunConfig& config, const PartsSource& source);
  void open_recorder(const RunConfig& config, const PartsSource& source, bool leads);
};

// In the folder of an elastic run: which groups its steps took.
inline constexpr char kJournalFile[] = "journal.jsonl";

}  // namespace zeroth

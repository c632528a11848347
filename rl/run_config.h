// The config of `zeroth train`: every field of a run, resolved, is RUN/config.json.
//
// No field is for texts to learn from: it sees problems and the policy's own samples only.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "learn/low_rank.h"
#include "learn/optimizer.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "ranks/team.h"
#include "record/run_recorder.h"
#include "rewards/rubric.h"
#include "rl/advantage.h"
#include "rl/alarms.h"
#include "rl/async_config.h"
#include "rl/distill.h"
#include "rl/dynamic_sampling_config.h"
#include "rl/evaluation_config.h"
#include "rl/loss.h"
#include "rl/prompt_screen.h"
#include "rl/replay_config.h"
#include "rl/trainer_config.h"
#include "rollout/engine_config.h"
#include "rollout/fleet/fleet_config.h"
#include "rollout/sampling_config.h"
#include "tasks/curriculum.h"
#include "text/prompt.h"

namespace zeroth {

struct TaskConfig {
  std::string name = "countdown";
  Json options = Json::object();
  template <class V>
  void fields(V& v) {
    v("name", name, "task to train on; see zeroth task list");
    v("options", options, "options of the task");
  }
};

struct RunConfig {
  std::string model = "models/base";
  TaskConfig task;
  DataConfig data;
  PromptConfig prompt;
  uint64_t seed = 0;
  int64_t steps = 100;
  int prompts_per_step = 16, samples_per_prompt = 16;
  PublishConfig policy;
  DeviceConfig device;
  SamplingConfig sampling;
  EngineConfig engine;
  FleetConfig fleet;
  AsyncConfig async;
  RanksConfig ranks;
  DynamicSamplingConfig dynamic_sampling;
  OverlongConfig overlong;
  ShapingConfig shaping;
  CurriculumConfig curriculum;
  AdvantageConfig advantage;
  LossConfig loss;
  DistillConfig distill;
  ReplayConfig replay;
  TrainerConfig trainer;
  LoraConfig lora;
  Json adapters = Json::array();
  OptimizerConfig optimizer;
  EvaluationConfig evaluation;
  ProbeConfig probe;
  AlarmConfig alarms;
  RecordConfig record;
  int64_t checkpoint_every = 50, keep_every = 0;
  int keep_last = 2;
  std::string keep_best;
  bool zero = false;

  // What a reward is in this run.
  Rubric rubric() const { return {overlong, shaping, sampling.max_tokens}; }

  template <class V>
  void fields(V& v) {
    v("model", model, "base checkpoint: a Hugging Face directory");
    v("task", task, "what is trained");
    v("data", data, "rows that cannot be used, or look like mistakes");
    v("prompt", prompt, "begin token and date of the prompts");
    v("seed", seed, "of every random draw");
    v("steps", steps, "rollout and update rounds", Range{1, 1e9});
    v("prompts_per_step", prompts_per_step, "problems per step", Range{1, 65536});
    v("samples_per_prompt", samples_per_prompt, "the group: completions", Range{1, 65536});
    v("policy", policy, "how the policy is published");
    device.fields(v);
    v("sampling", sampling, "how completions are drawn");
    v("engine", engine, "batching and memory of generation; does not change results");
    v("fleet", fleet, "workers on other machines; does not change results");
    v("async", async, "sampling ahead of training");
    v("ranks", ranks, "learners that share every step; does not change results");
    v("dynamic_sampling", dynamic_sampling, "replacement of groups without signal");
    v("overlong", overlong, "completions that reach the length limit");
    v("shaping", shaping, "rewards for language, repetition, length and steps of a response");
    v("curriculum", curriculum, "which problem comes next");
    v("advantage", advantage, "from rewards to advantages");
    v("loss", loss, "policy loss");
    v("replay", replay, "earlier groups in place of those without signal");
    v("distill", distill, "a teacher of the policy's own samples");
    v("trainer", trainer, "mini-batches, packing, router");
    v("lora", lora, "a low-rank adapter that learns in place of the weights");
    v("adapters", adapters,
      "runs over one base that take turns (docs/lora.md): [{\"name\": .., fields}, ..]; [] = one");
    v("optimizer", optimizer, "AdamW and its schedule");
    v("evaluation", evaluation, "held-out accuracy during the run");
    v("probe", probe, "fixed problems whose samples are kept to compare steps");
    v("alarms", alarms, "conditions that are named, and those that stop the run");
    v("record", record, "metrics, traces, progress");
    v("checkpoint_every", checkpoint_every,
      "steps between checkpoints; also one at the start and the end", Range{1, 1e9});
    v("keep_last", keep_last, "newest checkpoints kept; 0 = all", Range{0, 1e9});
    v("keep_every", keep_every, "steps between checkpoints that are kept too; 0 = none",
      Range{0, 1e9});
    v("keep_best", keep_best,
      "metric whose best checkpoint is kept too, as checkpoints/best: eval/pass@1 (then a better "
      "evaluation saves one), or -completions/mean_length where less is better");
    v("zero", zero, "refuse a model that has learnt from given completions (sft, dpo) anywhere");
  }
};

// Rules that span fields; throws Error(kUsage) naming the fields, the values and the fix.
void check_run_config(const RunConfig& config);
// The same for a run of so many ranks.
void check_ranks(const RunConfig& config, int ranks);

// Reads a config file (JSON with // comments), then applies overrides "a.b=value".
RunConfig read_run_config(const std::filesystem::path& file,
                          const std::vector<std::string>& overrides);

// Fields that a resumed run may change: those that only say how long, how fast or how visibly.
const std::vector<std::string>& free_fields();

}  // namespace zeroth

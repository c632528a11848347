// A run that learns from texts: folder, lock, resume, metrics, checkpoints and stops, written once
// for pretraining and supervised fine-tuning.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "rl/checkpoint.h"

namespace zeroth {

// When a stage saves and says something; fields of its config.
struct SavingConfig {
  int64_t checkpoint_every = 500;
  int keep_last = 2;
  int64_t keep_every = 0;
  int64_t print_every = 20;

  template <class V>
  void fields(V& v) {
    v("checkpoint_every", checkpoint_every, "steps between checkpoints; also one at the end",
      Range{1, 1e9});
    v("keep_last", keep_last, "newest checkpoints kept; 0 = all", Range{0, 1e9});
    v("keep_every", keep_every,
      "checkpoints of steps that are a multiple of this are kept too; 0 = none", Range{0, 1e9});
    v("print_every", print_every, "steps between progress lines on stderr; 0 = none",
      Range{0, 1e9});
  }
};

// What is learnt. Not thread safe.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual int64_t steps() const = 0;  // updates of the whole run
  // The first prompt as the policy sees it, and notes: lines for the start of the run.
  virtual std::string report() const = 0;
  // Update `step` (from 0). Returns its row of metrics without timings, with "loss" (nats a token),
  // "grad_norm", "learning_rate" and "num_tokens". Throws Error when the gradient is not finite;
  // the weights are then as before.
  virtual Json update(int64_t step) = 0;
  virtual int64_t num_tokens() const = 0;  // that updates have seen so far
  // What has been learnt, for a checkpoint after `step` updates.
  virtual CheckpointSource checkpoint(int64_t step) = 0;
};

// The tokenizer's ids fit the model, or Error.
void check_vocabulary(const Tokenizer& tokenizer, const PolicyConfig& config);

// Throws the Error of a gradient norm that is not finite.
void check_gradient(double norm, int64_t step);

struct StageRun {
  std::string command;  // "pretrain": named in errors and hints
  std::filesystem::path folder;
  bool resume = false;
  Json config;  // resolved
  // The config that the folder holds, resolved likewise. Called only for a folder with a run.
  std::function<Json()> recorded_config;
  std::vector<std::string> free;  // fields that a resumed run may change
  SavingConfig saving;
};

struct StageSummary {
  int64_t steps = 0;  // finished
  double loss = 0;    // of the last update, nats a token
  int64_t num_tokens = 0;
  double seconds = 0;
  bool interrupted = false;
};

// `from`: the checkpoint to go on from; none: a new run.
using MakeStage =
    std::function<std::unique_ptr<Stage>(const std::optional<TrainingCheckpoint>& from)>;

// A new run in run.folder, or with `resume` the rest of the one that is there, ending with a
// checkpoint. `stop` ends it after the current update, with a checkpoint. `progress` is told the
// finished steps and that of the newest checkpoint after every update. Deterministic: metrics and
// checkpoints are those of a run without interruptions. Blocks.
StageSummary run_stage(const StageRun& run, const MakeStage& make,
                       const std::atomic<bool>* stop = nullptr,
                       const std::function<void(int64_t finished, int64_t saved)>& progress = {});

}  // namespace zeroth

// What stages on rows of a file share: checkpoint, learner, epochs, held-out rows, resumption.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "learn/learner.h"
#include "model/formats/provenance.h"
#include "policy/policy.h"
#include "stages/learnt_row.h"
#include "stages/row_stage_config.h"
#include "stages/stage_run.h"

namespace zeroth {

// The rows of updates, by their index: an epoch takes all of them, so many at a time, in an order of
// its own by the seed with `shuffle`. Not thread safe.
class RowOrder {
 public:
  RowOrder(int64_t rows, int64_t batch_rows, bool shuffle, uint64_t seed);
  int64_t batches() const { return batches_; }  // of an epoch
  // Valid until the next call.
  std::span<const int64_t> of_step(int64_t step);

 private:
  int64_t batch_rows_, batches_;
  bool shuffle_;
  uint64_t seed_;
  int64_t epoch_ = -1;  // that order_ is of
  std::vector<int64_t> order_;
};

// What became of the rows of a file.
struct RowCounts {
  int64_t read = 0, cut = 0, dropped = 0;
  std::string first_dropped;  // its place

  // Counts a row that is kept or dropped; returns `kept`.
  bool keeps(bool kept, const std::string& place);
  // Throws Error "PATH: N `none`" when no row was kept; `kinds` says what a row holds.
  void check_some(const std::string& path, const std::string& none, const std::string& kinds) const;
};
// "PATH: N rows, 3 cut to 512 tokens, 1 left out with nothing to learn (the first: PATH:7)\n"
std::string count_line(const std::string& path, const RowCounts& counts, int64_t max_length);

// Use: the constructor of a class below reads its rows and calls adopt(); then as a Stage.
class RowStage : public Stage {
 public:
  int64_t steps() const override;
  std::string report() const override { return report_; }
  int64_t num_tokens() const override { return num_tokens_; }
  Json update(int64_t step) override;
  CheckpointSource checkpoint(int64_t step) override;

 protected:
  // `config` and `data` outlive it. Loads the checkpoint: config.model, or `from`.
  // `command` and `resolved`, the whole config, are for provenance.json.
  RowStage(const std::string& command, Json resolved, const RowStageConfig& config,
           const RowsConfig& data, const std::optional<TrainingCheckpoint>& from);
  // `rows`: what is learnt. Refuses a resumed run whose rows are others than before, and restores
  // the optimizer.
  void adopt(std::vector<PackedRow> rows, std::vector<PackedRow> held_out,
             const std::optional<TrainingCheckpoint>& from);
  // data.max_length within the model's context.
  int64_t row_length() const;

  // Between begin() and reduce(): adds the gradient of these rows (indices among those adopted);
  // metrics, with "loss" and "loss_tokens".
  virtual Json learn(std::span<const int64_t> rows) = 0;
  // Metrics of the held-out rows, without the "eval/" in front.
  virtual Json measure() = 0;
  // More files of a checkpoint.
  virtual std::map<std::string, std::string> files() const { return {}; }

  const RowStageConfig& config_;
  const RowsConfig& data_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Policy> policy_;
  Learner learner_;
  std::vector<PackedRow> rows_, held_out_;
  std::string report_;

 private:
  void add_measured(Json& row);

  const std::string command_;
  const Json resolved_, before_;  // before_: of model/formats/provenance.h
  TokenizerFiles tokenizer_files_;
  std::optional<RowOrder> order_;
  std::string rows_hash_;
  int64_t num_tokens_ = 0;
};

// Fields that a resumed run may change.
const std::vector<std::string>& row_stage_free_fields();

// Throws a usage Error naming `file` when model, rows or epochs are missing.
void check_row_stage(const RowStageConfig& config, const RowsConfig& data, const std::string& file);

// Every field of a config with its value.
template <class Config>
Json resolved(Config config) {
  return dump_config(config);
}

// run_stage() of a config that read(file, overrides) reads.
template <class StageOf, class Config, class Read>
StageSummary run_row_stage(const std::string& command, const Config& config, Read read,
                           const std::filesystem::path& folder, bool resume,
                           const std::atomic<bool>* stop,
                           const std::function<void(int64_t, int64_t)>& progress) {
  StageRun run;
  run.command = command;
  run.folder = folder;
  run.resume = resume;
  run.config = resolved(config);
  run.recorded_config = [&] {
    Config recorded = read(folder / "config.json", std::vector<std::string>{});
    return dump_config(recorded);
  };
  run.free = row_stage_free_fields();
  run.saving = config.saving;
  return run_stage(
      run, [&](const auto& from) { return std::make_unique<StageOf>(config, from); }, stop,
      progress);
}

}  // namespace zeroth

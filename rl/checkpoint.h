// Checkpoints of a run: RUN/checkpoints/step-N/ is a Hugging Face directory with the tokenizer's
// files plus what training needs to go on, so that a resumed run is the uninterrupted one, byte for
// byte.
//
//   model.safetensors, config.json, ...  the policy (policy/policy.h)
//   optimizer.bin                        both moments
//   reference.bin                        weights of the reference policy, when there is one
//   trainer_state.json                   step, counters, numeric contract, layout, size and SHA-256
//   of every other file
//
// A checkpoint is written under a temporary name, synced and renamed, so a folder called step-N is
// complete. RUN/checkpoints/latest is a symlink that is replaced by rename. One process at a time:
// hold the run's lock.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "core/config.h"
#include "policy/policy.h"
#include "rl/optimizer.h"
#include "text/tokenizer.h"

namespace zeroth {

// Files of a tokenizer, name to content. Kept in memory, because a resumed run's tokenizer comes
// from a checkpoint that the run itself will delete.
using TokenizerFiles = std::map<std::string, std::string>;
TokenizerFiles read_tokenizer_files(const Tokenizer& tokenizer);

// Everything that goes into one. `state` is the loop's own counters.
struct CheckpointSource {
  const Policy& policy;
  const TokenizerFiles& tokenizer;
  AdamW& optimizer;
  const Policy* reference = nullptr;
  Json state;
};

// Writes checkpoints/step-`step`, points `latest` to it, then deletes all but the `keep_last`
// newest (0 = keep all). Does nothing when `latest` already is that step. Throws Error on a full or
// read-only disk; what was there before stays.
void save_checkpoint(const std::filesystem::path& run, int64_t step, const CheckpointSource& source,
                     int keep_last);

// A checkpoint whose files were found whole.
struct TrainingCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
  int64_t optimizer_steps = 0;
  Json state;
};

// The checkpoint that `latest` names, after checking size and SHA-256 of every file; none when the
// run has no checkpoint yet. A damaged one, or one of another numeric contract, is an Error that
// names the file or both contracts.
std::optional<TrainingCheckpoint> latest_checkpoint(const std::filesystem::path& run);

// Fills the optimizer and the reference (null: none expected) of a policy loaded from
// checkpoint.folder. Throws Error when the layouts differ.
void restore_trainer(const TrainingCheckpoint& checkpoint, const Policy& policy, AdamW& optimizer,
                     Policy* reference);

// Deletes half-written folders and checkpoints newer than `latest` (their steps will be run again).
void clean_checkpoints(const std::filesystem::path& run);

}  // namespace zeroth

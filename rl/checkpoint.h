// Checkpoints of a run: RUN/checkpoints/step-N/ is a Hugging Face directory with the tokenizer's
// files plus what training needs to go on, so that a resumed run is the uninterrupted one, byte for
// byte.
//
//   model.safetensors, config.json, ..  the policy (policy/policy.h)
//   optimizer.bin                       both moments
//   adapter/, lora_base.bin             with LoRA: the adapter as PEFT reads it, and the base values
//                                       of its matrices, which are merged in model.safetensors
//   reference.bin                       weights of the reference policy, when there is one
//   pending.bin, elastic.bin            rollouts that were sampled ahead (async.lag,
//                                       async.max_staleness)
//   aside.bin                           groups that a token budget has set aside (async.token_budget)
//   replay.bin                          groups of earlier steps that may be trained on again
//   trainer_state.json                  step, counters, numeric contract, layout; of every other
//                                       file its size and SHA-256
//
// A checkpoint is written under a temporary name, synced and renamed, so a folder called step-N is
// complete. RUN/checkpoints/latest is a symlink for people and scripts; nothing here depends on it.
// Nothing is deleted before a newer checkpoint is safe. One process at a time: hold the run's lock.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "learn/low_rank.h"
#include "learn/optimizer.h"
#include "policy/policy.h"
#include "ranks/team.h"
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
  Json state = {};
  std::map<std::string, std::string> files = {};  // more of the loop's own, name to content
  // The ranks whose optimizers each hold a shard of the moments; null: this process is alone.
  Team* team = nullptr;
  const LowRankUpdate* low_rank = nullptr;  // what the optimizer updates, with LoRA
  std::string base = {};                    // then the path of the base model
};

// Which checkpoints stay when a newer one has been written.
struct KeepRule {
  int last = 0;       // the newest so many; 0 = all
  int64_t every = 0;  // and those of steps that are a multiple of this; 0 = none
  int64_t best = -1;  // and this one
};

// Writes checkpoints/step-`step` and points `latest` to it, and `best` to rule.best when it is
// there. Only then it deletes what `keep` does not name, half-written folders, and checkpoints of
// later steps: a run that resumed before them found them damaged. Throws Error on a full or
// read-only disk; what was there before stays. With a team all ranks call it: rank 0 writes, the
// others send it their moments.
void save_checkpoint(const std::filesystem::path& run, int64_t step, const CheckpointSource& source,
                     const KeepRule& keep);

// Points `best` to step-`step`, or removes it when there is no such checkpoint.
void point_best(const std::filesystem::path& run, int64_t step);

// A checkpoint whose files were found whole.
struct TrainingCheckpoint {
  std::filesystem::path folder;
  int64_t step = 0;
  int64_t optimizer_steps = 0;
  int64_t moment_steps = 0;  // since the moments were last reset
  Json state;
  // Faults of newer checkpoints, which are not whole, newest first.
  std::vector<std::string> passed_over;
};

// The newest checkpoint whose files all have the recorded size and SHA-256, whatever `latest` is: a
// link, a copied folder, dangling or missing. None when the run has no checkpoint at all. Throws
// Error when there are some and none is whole (each named with its fault), or when the newest
// belongs to another numeric contract or format (both named).
std::optional<TrainingCheckpoint> newest_checkpoint(const std::filesystem::path& run);

// Points `latest` to step-`step` where it is a link to something else or missing. Anything else that
// has its name stays until the next save.
void mend_latest(const std::filesystem::path& run, int64_t step);

// Whether the run holds any checkpoint, damaged ones included.
bool has_checkpoints(const std::filesystem::path& run);

// Whether it holds a reference policy.
bool has_reference(const TrainingCheckpoint& checkpoint);

// Fills the optimizer, the reference (null: none expected) and the adapter (null: the weights learn)
// of a policy loaded from checkpoint.folder; of a team's optimizer the rank's shard, whatever team
// wrote them. Throws Error when the layouts differ.
void restore_trainer(const TrainingCheckpoint& checkpoint, const Policy& policy, AdamW& optimizer,
                     Policy* reference, const Team* team = nullptr,
                     LowRankUpdate* low_rank = nullptr);

}  // namespace zeroth

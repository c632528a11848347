// RUN/config.json, shared by reinforcement learning and pretraining.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "rl/checkpoint.h"

namespace zeroth {

// Creates the folder of a run where it is missing; throws Error with the path. Returns its
// argument.
const std::filesystem::path& make_run_folder(const std::filesystem::path& folder);
bool holds_run(const std::filesystem::path& folder);  // there is a config.json

// Throws Error when the folder already holds a run, or what is left of one (checkpoints, metrics,
// traces); `command` is named in the fix.
void refuse_old_run(const std::filesystem::path& folder, const std::string& command);

// The checkpoint to resume from, see newest_checkpoint(); none when the run died before its first
// one, with nothing recorded. Throws Error when steps are recorded and there is no checkpoint: it
// was lost, and starting over would lose the rest.
std::optional<TrainingCheckpoint> checkpoint_to_resume(const std::filesystem::path& folder,
                                                       const std::string& command);
// Says on stderr which newer checkpoints were passed over and why.
void say_passed_over(const TrainingCheckpoint& checkpoint);
// Where what is recorded after the checkpoint is kept until the next one is safe.
std::filesystem::path set_aside_folder(const std::filesystem::path& folder);

// RUN/config.json: the resolved config, and what made the run (version, git revision, numeric
// contract, instruction set) under "provenance".
void write_run_config(const std::filesystem::path& folder, Json config);
// A config file written by hand or by write_run_config, without the provenance.
Json read_config_file(const std::filesystem::path& file);

// Refuses a resumed run whose config differs from the recorded one in a field that is not among
// `free` (dotted names; a struct's name frees all its fields). Throws Error(kUsage) that names the
// fields.
void refuse_other_run(const std::filesystem::path& folder, const Json& wanted,
                      const std::vector<std::string>& free);

}  // namespace zeroth

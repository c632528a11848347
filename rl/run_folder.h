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

// What RUN/config.json holds besides the config.
struct RunNotes {
  Json provenance;  // version, git revision, numeric contract, instruction set, working directory
  Json inputs;      // see fingerprint_inputs(); null in runs of older versions
  Json history = Json::array();  // one object for the start and every change since, oldest first
};

// RUN/config.json: the resolved config and the notes, with the provenance of this process.
void write_run_config(const std::filesystem::path& folder, Json config, const RunNotes& notes = {});
// A config file written by hand or by write_run_config, without the notes.
Json read_config_file(const std::filesystem::path& file);
// The notes of a run; empty when there is no config.json.
RunNotes read_run_notes(const std::filesystem::path& folder);

// Goes to the directory that the run was started in when a file that its config names relatively is
// there and not here, and says so. Returns whether it did.
bool enter_run_directory(const std::filesystem::path& folder);

// Names of the fields (dotted) whose values differ.
std::vector<std::string> differing_fields(const Json& a, const Json& b);
// Whether `name` is one of `names` or a field of one that is a struct.
bool covered(const std::string& name, const std::vector<std::string>& names);

// {FIELD: [before, after]} of all that differs from the `recorded` config.
Json config_changes(const Json& recorded, const Json& wanted);

// Refuses a resumed run whose config differs from the recorded one in a field that is neither among
// `free` (dotted names; a struct's name frees all its fields) nor among those that are to be
// `changed`. Throws Error(kUsage) that names the fields.
void refuse_other_run(const std::filesystem::path& folder, const Json& recorded, const Json& wanted,
                      const std::vector<std::string>& free,
                      const std::vector<std::string>& changed = {});

// RUN/state.json, for those who look at the run: {"state": "running", "finished", "stopped" or
// "failed", "by": a signal or the message of the error, "step": finished ones, "steps", "pid",
// "time"}. A run that is "running" while nobody holds its lock was killed. Never throws.
void write_run_state(const std::filesystem::path& folder, const std::string& state,
                     const std::string& by, int64_t step, int64_t steps);
// Seconds since 1970 as "2026-11-29T08:00:00Z".
std::string utc_time();

// Notices that a run's folder was removed, renamed, replaced or unmounted under the running process.
class FolderWatch {
 public:
  // The run's lock must be held.
  explicit FolderWatch(const std::filesystem::path& folder);
  // Whether the path does not lead to the same folder any more.
  bool gone() const;
  // Throws Error when it is gone.
  void check() const;

 private:
  std::filesystem::path folder_;
  uint64_t device_ = 0, inode_ = 0;  // of the lock file
};

}  // namespace zeroth

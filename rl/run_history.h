// How a run came to be what it is: what it reads, and every start, resumption and change.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"
#include "rl/run_config.h"
#include "rl/run_folder.h"

namespace zeroth {

// Kept in RUN/config.json beside the fields of the config. Of the ranks of a run only the one that
// leads writes and speaks. Not thread safe.
class RunHistory {
 public:
  explicit RunHistory(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // A run begins, and RUN/config.json is written. `inputs`: fingerprint of what it reads, see
  // fingerprint_inputs(). `replay_of`: the run that it makes again; empty: none.
  void begin(RunConfig config, Json inputs, const std::filesystem::path& replay_of = {});
  // Takes over what the folder says.
  void read() { notes_ = read_run_notes(folder_); }

  // What a resumed run reads must be what it was started with, unless `may_change`. Throws Error
  // otherwise. With `leads` what differs is said, and kept for resume().
  void check_inputs(Json inputs, bool may_change, bool leads);
  // Whether check_inputs() found changes.
  bool inputs_changed() const { return !changed_inputs_.empty(); }
  // Says and records that the run goes on at `first_step` and what changed since: fields of the
  // config beside `recorded` (null: there is none), inputs, the binary, and gaps of what was
  // recorded.
  void resume(const Json& recorded, RunConfig config, int64_t first_step);

  // For a replay, which has one config and one set of inputs for all steps. Throws Error when the
  // run was changed on its way, or reads something else than `inputs`.
  void refuse_changes() const;
  void refuse_other_inputs(const Json& inputs) const;

 private:
  std::filesystem::path folder_;
  RunNotes notes_;
  std::vector<std::string> changed_inputs_;
};

}  // namespace zeroth

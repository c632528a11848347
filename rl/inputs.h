// What a run reads besides its checkpoint, with fingerprints: a resumed run is only the same run
// while these are the same.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"
#include "rl/checkpoint.h"
#include "tasks/task.h"

namespace zeroth {

// Regular files that `options` names anywhere: as a value, as a word of a command, or behind "=" in
// a task's spec text. Files of the system (/usr, /bin, ..) are not the run's.
std::vector<std::string> named_files(const Json& options);

// {"files": {PATH: {"bytes", "sha256"}}, "train": N, "held_out": N, "tokenizer": SHA-256}: the files
// that `options` names, the sizes of the task's splits, the tokenizer's files.
Json fingerprint_inputs(const Json& options, const Task& task, const TokenizerFiles& tokenizer);

// What differs between two fingerprints, a line each; nothing when one of them is null (runs of
// older versions have none). Paths are compared as they are written.
std::vector<std::string> changed_inputs(const Json& recorded, const Json& now);

}  // namespace zeroth

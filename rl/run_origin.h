// Which command a run is of, and where it was started.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace zeroth {

// Throws a usage Error when the newest checkpoint of the folder was made by another command of
// Zeroth than `command`, such as "sft".
void refuse_other_command(const std::filesystem::path& folder, const std::string& command);

// Goes to the directory that the run was started in when one of `files`, which its config names
// relatively, is there and not here, and says so. Returns whether it did.
bool enter_run_directory(const std::filesystem::path& folder,
                         const std::vector<std::string>& files);

// refuse_other_run() for commands that have no --change.
void refuse_other_stage(const std::filesystem::path& folder, const Json& recorded,
                        const Json& wanted, const std::vector<std::string>& free);

}  // namespace zeroth

// A run that somebody else made may name a command, a library or a server as its task's grader.
#pragma once

#include <string>

#include "core/config.h"

namespace zeroth {

// Throws a usage Error that shows what the task of the run would start, unless `allowed` (the user
// said --start-plugins) or it starts nothing. `run` is named in the message.
void ask_for_plugins(const std::string& run, const std::string& task, const Json& options,
                     bool allowed);

}  // namespace zeroth

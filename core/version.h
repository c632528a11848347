// What this binary is: printed by `zeroth --version` and written into every run.
#pragma once

#include <string>

namespace zeroth {

std::string version_string();  // "0.1.0"
std::string git_revision();    // short hash at configure time, or "unknown"

}  // namespace zeroth

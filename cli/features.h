// What this build can do beyond what every build can.
#pragma once

#include <string>

namespace zeroth {

// One line for `zeroth --version`: instruction sets that this processor has, how ranks connect,
// carriers of tasks, and kinds of data files.
std::string features();

}  // namespace zeroth

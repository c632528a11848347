// Ctrl-C and SIGTERM as a flag that long work looks at.
#pragma once

#include <atomic>

namespace zeroth {

// From now on the first signal sets the flag that is returned, so that work ends at a clean point;
// a second one ends the process at once.
const std::atomic<bool>& stop_on_interrupt();

}  // namespace zeroth

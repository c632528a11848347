// What this machine is called, for messages and default names.
#pragma once

#include <string>

namespace zeroth {

// As the kernel knows it; "unknown" when it does not say. Any thread.
std::string host_name();

}  // namespace zeroth

// The worker of the shared-library carrier: a process that loads the library and speaks the
// protocol of the process carrier for it. `zeroth task serve FILE.so`.
#pragma once

#include <filesystem>

namespace zeroth {

// Answers requests from standard input on standard output until the input ends; what the library
// itself prints there goes to standard error. Returns an exit code. Throws Error when the file
// cannot be loaded or is no plug-in of this version. Takes over the process: call it from main.
int serve_library(const std::filesystem::path& library);

}  // namespace zeroth

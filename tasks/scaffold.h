// A new task to start from: `zeroth task new`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

// Writes a task that works and passes `zeroth task check`, to be made into something else. Returns
// the paths. Languages:
//   cpp      root/tasks/NAME_task.h, .cc and root/tests/tasks/NAME_task_test.cc (a source tree)
//   python   root/NAME.py, for the process carrier
//   so       root/NAME.c and root/plugin_abi.h, for the shared-library carrier
// `name` is lower-case letters, digits and underscores; files that exist are never overwritten
// (Error).
std::vector<std::string> write_task_scaffold(const std::filesystem::path& root,
                                             const std::string& name, const std::string& language);

// What is left to do by hand.
std::string scaffold_next_steps(const std::filesystem::path& root, const std::string& name,
                                const std::string& language);

}  // namespace zeroth

// A new task to start from: `zeroth task new`.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

// Writes tasks/NAME_task.h, tasks/NAME_task.cc and tests/tasks/NAME_task_test.cc below `root`: a
// task that compiles, passes `zeroth task check` and reverses words until it is made into something
// else. Returns the paths. `name` is lower-case letters, digits and underscores; files that exist
// are never overwritten (Error).
std::vector<std::string> write_task_scaffold(const std::filesystem::path& root,
                                             const std::string& name);

// What is left to do by hand.
std::string scaffold_next_steps(const std::string& name);

}  // namespace zeroth

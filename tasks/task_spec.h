// How a task is named on the command line.
#pragma once

#include <string>

#include "core/config.h"

namespace zeroth {

// "name" or "name:key=value,key=value" (values as JSON or bare words).
struct TaskSpec {
  std::string name;
  Json options;
};
// Throws a usage Error for a part that is no key=value.
TaskSpec parse_task_spec(const std::string& spec);

}  // namespace zeroth

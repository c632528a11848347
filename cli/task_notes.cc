#include "cli/task_notes.h"

#include <cstdio>

#include "core/terminal.h"

namespace zeroth {

void print_task_notes(const Task& task) {
  for (const std::string& note : task.notes()) {
    std::fprintf(stderr, "task %s: %s\n", task.name().c_str(), printable_line(note, 600).c_str());
  }
}

}  // namespace zeroth

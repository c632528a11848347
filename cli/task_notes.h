// What a task says about its data, on standard error.
#pragma once

#include "tasks/task.h"

namespace zeroth {

// One line a note: the grader that was chosen, rows that were left out.
void print_task_notes(const Task& task);

}  // namespace zeroth

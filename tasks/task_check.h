// Is a task fit for training? The check behind `zeroth task check`.
#pragma once

#include <string>
#include <vector>

#include "tasks/task.h"

namespace zeroth {

struct TaskCheck {
  struct Line {
    std::string name;
    bool passed = true;
    std::string detail;    // counts; the first offender when it failed
    bool warning = false;  // nothing failed, but the user should know
  };
  std::vector<Line> lines;
  double false_negatives =
      0;  // share of right answers (gold, and harmless rewritings of it) not graded right
  double false_positives = 0;  // share of junk and perturbed answers graded right
  double guess_rate =
      0;  // best accuracy of one constant answer over the problems: what guessing pays
  double mean_us = 0, max_us = 0;  // of one grade() call

  bool passed() const;
  Json to_json() const;
  std::string to_text() const;
};

// Looks at the first `n` problems of each split: problems and verdicts are the same when asked for
// again, train and held-out share no prompt and no cluster, the gold completion (when the task
// makes one) is right also with other blanks around it, junk (empty, tags, random bytes, a
// megabyte of one letter, the answer hidden in the thinking) and gold with one character changed
// are wrong, repeating the prompt is right in at most one of ten, and no grader throws. Warnings:
// what the task notes about its data (grader chosen, rows left out), answers that stand in their
// prompts, problems whose tests are all weak. A grader that gives no verdict three times in a row
// is reported with its fault, and not asked again. Blocks; takes as long as the grader does.
// A task that is only evaluated needs no training problem.
TaskCheck check_task(const Task& task, int n, bool evaluation_only = false);

}  // namespace zeroth

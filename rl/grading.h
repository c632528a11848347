// Grading of sampled groups: one call of the task, which a stop can cut short.
#pragma once

#include <atomic>
#include <vector>

#include "ranks/team.h"
#include "rewards/rubric.h"
#include "rl/background.h"
#include "tasks/task.h"

namespace zeroth {

// Grades every sample of every group in one call of the task, and applies the rubric. When `stop`
// becomes true first, throws Interrupted and leaves `groups` empty; `background` may be null, then a
// stop is not heard. With a `team` each rank grades its share of the groups and gets the others'
// verdicts.
void grade_groups(const Task& task, const Rubric& rubric, std::vector<Group>& groups,
                  Background* background = nullptr, const std::atomic<bool>* stop = nullptr,
                  Team* team = nullptr);

// Problems `indices` of a split, in order. The same holds for `stop`: a plug-in may take its time
// to make them.
std::vector<Problem> fetch_problems(const Task& task, Split split,
                                    const std::vector<int64_t>& indices, Background* background,
                                    const std::atomic<bool>* stop);

}  // namespace zeroth

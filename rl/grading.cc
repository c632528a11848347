#include "rl/grading.h"

#include <iterator>
#include <memory>
#include <utility>

namespace zeroth {
namespace {

std::vector<std::vector<Verdict>> grade(const Task& task, const std::vector<Group>& groups) {
  std::vector<GradeRequest> requests;
  for (size_t i = 0; i < groups.size(); ++i) {
    for (const Sample& sample : groups[i].samples) {
      requests.push_back({&groups[i].problem, sample.text, sample.finish, static_cast<int64_t>(i)});
    }
  }
  return task.grade_batch(requests);
}

}  // namespace

void grade_groups(const Task& task, const Rubric& rubric, std::vector<Group>& groups,
                  Background* background, const std::atomic<bool>* stop) {
  std::vector<std::vector<Verdict>> verdicts;
  if (background == nullptr) {
    verdicts = grade(task, groups);
  } else {
    // A call that is given up goes on, so the groups are its own while it runs.
    const auto held = std::make_shared<std::vector<Group>>(std::move(groups));
    groups.clear();
    verdicts = background->run([&task, held] { return grade(task, *held); }, stop, "grading");
    groups = std::move(*held);
  }
  auto next = std::make_move_iterator(verdicts.begin());
  for (Group& group : groups) {
    const auto end = next + static_cast<std::ptrdiff_t>(group.samples.size());
    rubric.apply({next, end}, group);
    next = end;
  }
}

std::vector<Problem> fetch_problems(const Task& task, Split split,
                                    const std::vector<int64_t>& indices, Background* background,
                                    const std::atomic<bool>* stop) {
  const auto fetch = [&task, split, indices] {
    std::vector<Problem> problems;
    for (const int64_t index : indices) problems.push_back(task.problem(split, index));
    return problems;
  };
  // Only plug-ins take long enough to be worth a thread.
  if (background == nullptr || task.grades_here()) return fetch();
  return background->run(fetch, stop, "drawing problems");
}

}  // namespace zeroth

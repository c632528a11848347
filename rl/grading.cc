#include "rl/grading.h"

#include <iterator>
#include <memory>
#include <utility>

#include "core/error.h"
#include "rl/rollout_codec.h"
#include "rl/turns.h"

namespace zeroth {
namespace {

using Verdicts = std::vector<std::vector<Verdict>>;

Verdicts grade(const Task& task, const std::vector<Group>& groups) {
  std::vector<GradeRequest> requests;
  for (size_t i = 0; i < groups.size(); ++i) {
    for (const Sample& sample : groups[i].samples) {
      requests.push_back(
          {&groups[i].problem, sample.text, sample.finish, static_cast<int64_t>(i), sample.turns});
    }
  }
  return task.grade_batch(requests);
}

// Of all groups, in order.
Verdicts grade_shared(const Task& task, std::vector<Group>& groups, Background* background,
                      const std::atomic<bool>* stop, Team& team) {
  const auto count = static_cast<int64_t>(groups.size());
  const auto place = [&](int64_t g) { return groups.begin() + static_cast<std::ptrdiff_t>(g); };
  const auto own =
      std::make_shared<std::vector<Group>>(place(team.begin_of(count)), place(team.end_of(count)));
  Verdicts mine;
  try {
    Background here;
    mine = (background != nullptr ? *background : here)
               .run([&task, own] { return grade(task, *own); }, &team.cut(), "grading");
  } catch (const Interrupted&) {
    mine.clear();  // all agree about the stop in what follows
  }
  const auto texts = team.gather("verdicts", pack_verdicts(mine));
  check_stop(stop, "grading");
  Verdicts all;
  for (int r = 0; r < team.size(); ++r) {
    size_t samples = 0;
    for (int64_t g = Team::share_begin(count, r, team.size());
         g < Team::share_begin(count, r + 1, team.size()); ++g)
      samples += groups[g].samples.size();
    const std::string source = "the verdicts of rank " + std::to_string(r);
    Verdicts theirs = unpack_verdicts(texts[r], source);
    if (theirs.size() != samples) fail(source + " are of other samples");
    std::move(theirs.begin(), theirs.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace

void grade_groups(const Task& task, const Rubric& rubric, std::vector<Group>& groups,
                  Background* background, const std::atomic<bool>* stop, Team* team) {
  Verdicts verdicts;
  if (team != nullptr) {
    verdicts = grade_shared(task, groups, background, stop, *team);
  } else if (background == nullptr) {
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
    // What the environment has said of a sample stands beside what its checker says.
    for (size_t i = 0; i < group.samples.size(); ++i) {
      if (const Verdict* turns = turns_verdict(group.samples[i]))
        next[static_cast<std::ptrdiff_t>(i)].push_back(*turns);
    }
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

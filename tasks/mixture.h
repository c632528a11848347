// Several tasks as one, each with a weight.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tasks/environment.h"
#include "tasks/task.h"

namespace zeroth {

// Options: {"parts": [{"task": NAME, "weight": W, "options": {..}}, ..], "levels": false}. With
// "levels" the parts are levels of difficulty, easiest first: problem i is of part i % parts, and
// weights do not count. Problems come in cycles of 1000 in which every part has its share, evenly
// spread; within a part they come in order. Training lasts until the largest part is used up
// (smaller ones repeat), held-out problems never repeat. problem.meta holds {"part": index, "meta":
// the part's own}. Each accuracy verdict gets the facts NAME and NAME_right, so that reports show
// the accuracy of every part.
class MixtureTask : public Task, public Environment {
 public:
  struct Part {
    std::string name;
    std::unique_ptr<Task> task;
    double weight = 1;
  };
  MixtureTask(std::vector<Part> parts, bool levels);
  int levels() const override { return levels_ ? static_cast<int>(parts_.size()) : 1; }
  std::string name() const override { return "mixture"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  ProblemOrigin origin(Split split, int64_t index) const override;
  bool reads_rows() const override;
  std::string part(const Problem& problem) const override;
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override;
  std::string cluster(const Problem& problem) const override;
  bool is_chat(const Problem& problem) const override;
  bool grades_here() const override;
  std::vector<std::string> notes() const override;
  // Each part's own; samples of a part without one have one turn.
  const Environment* environment() const override;
  int max_turns(const Problem& problem) const override;
  int max_observation_tokens(const Problem& problem) const override;
  double turn_weight(const Problem& problem) const override;
  std::vector<std::string> turn_stops(const Problem& problem) const override;
  std::vector<StepResult> step(std::span<const StepRequest> requests) const override;

 private:
  struct Slot {
    size_t part;
    int64_t rank;  // how many slots of the same part come before it in the cycle
  };
  // The part that problem `index` is of, and its index there.
  const Part& part_at(Split split, int64_t index, int64_t* within) const;
  // The part's own problem.
  Problem inner(const Problem& problem, size_t* part) const;
  // Of the problem's part, null without one; `own`: the part's own problem.
  const Environment* environment_of(const Problem& problem, Problem* own) const;
  void label(size_t part, std::vector<Verdict>& verdicts) const;

  std::vector<Part> parts_;
  bool levels_;
  std::vector<int64_t> slots_of_;  // by part
  std::vector<Slot> cycle_;
};

std::unique_ptr<Task> make_mixture(const Json& options);
std::string mixture_help();

}  // namespace zeroth

// A task: a source of problems that knows how to grade completions of them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

enum class Split { kTrain, kHeldOut };

class Environment;

// One completion to grade. The views must stay alive during the call.
struct GradeRequest {
  const Problem* problem = nullptr;
  std::string_view completion;
  FinishReason finish = FinishReason::kStop;
  // Requests of one call with the same number are the samples of one problem, side by side: a
  // reward may compare them. -1: a sample by itself.
  int64_t group = -1;
  // Of a task with an environment: the completion's turns (Turn::text_end cuts it).
  std::span<const Turn> turns = {};
};

// Where a problem comes from, for messages, and what its task found wrong with it.
struct ProblemOrigin {
  std::string place;      // "FILE:LINE"; empty for problems that are made
  std::string fault;      // in words; empty: none
  bool unusable = false;  // there is nothing to ask, as in a row with an empty prompt
};

// Deterministic and immutable: problem(split, i) is always the same problem; train and held-out are
// disjoint by construction. Const methods are thread safe.
class Task {
 public:
  virtual ~Task() = default;
  virtual std::string name() const = 0;
  // Number of distinct indices of a split; procedural tasks may return a very large number.
  virtual int64_t size(Split split) const = 0;
  virtual Problem problem(Split split, int64_t index) const = 0;
  // Where problem(split, index) comes from; cheap.
  virtual ProblemOrigin origin(Split, int64_t) const { return {}; }
  // True when problems are rows of a file, all or some.
  virtual bool reads_rows() const { return false; }
  // Name of the part of a mixture that a problem belongs to; empty for other tasks.
  virtual std::string part(const Problem&) const { return {}; }
  // Whether a chat template made the problem's prompt: its begin token is then as the template
  // wrote it.
  virtual bool is_chat(const Problem&) const { return false; }
  // Grades one completion: a Verdict per reward, in a fixed order, never throwing on model text and
  // always bounded in time. `finish` tells truncation apart. A broken checker gives
  // Reason::kCheckerError.
  virtual std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                                     FinishReason finish) const = 0;
  // Grades many completions, results in order. All samples of a group come in one call. The default
  // calls grade() on all cores; tasks whose checker works in batches (sandboxes, other processes) do
  // better.
  virtual std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const;
  // A completion that deserves full marks, for `zeroth task check`; empty when the task cannot make
  // one.
  virtual std::string gold_completion(const Problem&) const { return {}; }
  // Levels of difficulty: training problem i is of level i % levels(), 0 the easiest. See
  // tasks/curriculum.h.
  virtual int levels() const { return 1; }
  // What the user should know about the problems before they are used: the grader that was chosen,
  // rows that were left out and why. One short sentence each, printed by train, eval and check.
  virtual std::vector<std::string> notes() const { return {}; }
  // Strings that end a completion of this task (besides end-of-text).
  virtual std::vector<std::string> stop_strings() const { return {}; }
  // What answers the policy in tasks of several turns (tasks/environment.h); lives as long as the
  // task. Null: a completion is one turn.
  virtual const Environment* environment() const { return nullptr; }
  // Key by which problems are dependent (Countdown: the multiset of numbers); intervals cluster by
  // it.
  virtual std::string cluster(const Problem& problem) const { return problem.id; }
  // False when grading leaves this process (plug-ins, programs in the sandbox). Readers of traces,
  // which grade candidate answers by the thousand, do without such a task.
  virtual bool grades_here() const { return true; }
};

// A task that grades many completions at a time; one is a batch of one.
class BatchTask : public Task {
 public:
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const final;
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override = 0;
};

// Makes the task `name` with its options; unknown names and options are usage Errors that name the
// nearest one.
std::unique_ptr<Task> make_task(const std::string& name, const Json& options);
// "name" or "name:key=value,key=value" (values as JSON or bare words), as in `zeroth eval --task`.
std::unique_ptr<Task> make_task(const std::string& spec);

// True when making this task starts a command, loads a library or connects to a server, so that a
// program that only looks at a run must not make it.
bool starts_plugin(const std::string& name, const Json& options);

// The task of a run for a program that only looks at it: nothing is started, and no program of a
// trace is run. Null, with the reason in `why`, for plug-ins, for tasks whose answers are programs,
// and when it cannot be made. "programs" comes with its native runner, whose verdicts on small
// functions are those of the sandbox.
std::unique_ptr<Task> make_task_to_look(const std::string& name, Json options, std::string* why);

struct TaskInfo {
  std::string name, summary, options_help;
};
std::vector<TaskInfo> list_tasks();

}  // namespace zeroth

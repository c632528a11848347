// Samples held-out problems and grades them: `zeroth eval`, the demo, and evaluation during a run.
#pragma once

#include <atomic>
#include <functional>

#include "ranks/team.h"
#include "rewards/rubric.h"
#include "rl/background.h"
#include "rl/length_history.h"
#include "rl/prompt_screen.h"
#include "rollout/sampler.h"
#include "tasks/evaluation.h"
#include "tasks/task.h"
#include "text/prompt.h"

namespace zeroth {

struct EvalOptions {
  int64_t n = 512;           // problems, the first n of the split; all when it has fewer
  int samples = 1;           // completions of each
  SamplingConfig sampling;   // the task's stop strings are added
  Rubric rubric;             // what their rewards are
  uint64_t seed = 0;         // names the draws
  std::string bos = "auto";  // see text/prompt.h
  Split split = Split::kHeldOut;
  // Problems that it leaves out are replaced by the next ones; null: none is left out.
  const PromptScreen* screen = nullptr;
  // Called with every graded group, in the order of the problems; may be null.
  std::function<void(const Group&)> on_group;
  // Called with finished and wanted samples; may be null.
  std::function<void(int64_t done, int64_t total)> on_progress;
  // When it becomes true, evaluation ends before the next forward call and throws Interrupted. A
  // grading that is under way is left to `background`, or waited for when that is null.
  const std::atomic<bool>* stop = nullptr;
  Background* background = nullptr;
  // The ranks that evaluate together, all with the same arguments and a sampler that they share:
  // each grades its part. Null: this process is alone.
  Team* team = nullptr;
  // Of earlier evaluations on these problems: says which to begin first, and is told how long their
  // samples were. May be null.
  LengthHistory* lengths = nullptr;
};

// The step in the keys of evaluation draws: no training step has it, and it is the same for every
// checkpoint, so that two checkpoints are compared on common random numbers.
inline constexpr uint32_t kEvaluationStep = UINT32_MAX;

// Blocks. The report depends only on weights, task and options, not on batching. Throws Error when
// the split is empty or a prompt does not fit.
EvalReport evaluate(Sampler& sampler, const Tokenizer& tokenizer, const Task& task,
                    const EvalOptions& options);

}  // namespace zeroth

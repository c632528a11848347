// One step's experience: draw problems, sample groups, grade them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "ranks/team.h"
#include "rl/background.h"
#include "rl/length_history.h"
#include "rl/run_config.h"
#include "rl/set_aside.h"
#include "rollout/sampler.h"
#include "tasks/curriculum.h"
#include "tasks/task.h"
#include "text/prompt.h"

namespace zeroth {

struct Rollout {
  // What is trained on, in the order drawn: prompts_per_step of them. Their advantages are to be
  // assigned anew, over these groups alone: config.advantage.per_reward compares the whole batch.
  std::vector<Group> groups;
  Tickets tickets;               // [group][sample] of groups
  std::vector<Group> discarded;  // groups without signal that dynamic sampling replaced
  int rounds = 1;                // generation rounds, 1 + what dynamic sampling added
  int set_aside = 0;             // groups that a token budget has left for later steps
  int64_t prompt_tokens = 0, sampled_tokens = 0;
  int64_t skipped_prompts = 0;  // drawn and left out, see rl/prompt_screen.h
  int level = -1;               // of the curriculum, when it has levels
  int64_t draws = 0;            // problems drawn in the run so far, by RolloutPipeline
  double generate_seconds = 0, grade_seconds = 0;
  // Forward calls of the sampler meanwhile (0 = it does not say), and its drafts (SamplerStats). Not
  // kept in checkpoints.
  int64_t forward_calls = 0, draft_tokens = 0, draft_accepted = 0;
  void add_work(const SamplerStats& before, const SamplerStats& after) {
    forward_calls += after.forward_calls - before.forward_calls;
    draft_tokens += after.draft_tokens - before.draft_tokens;
    draft_accepted += after.draft_accepted - before.draft_accepted;
  }
};

// Calls on one task and sampler. Not thread safe; blocks until all samples are graded.
class Rollouts {
 public:
  // All of them must outlive it. Calls of the task that a stop cuts short are left to `background`,
  // or waited for without one. Problems that `screen` leaves out are drawn over; null: none is.
  // `team`: the ranks that collect the same rollouts together with a sampler that they share; each
  // grades its part.
  Rollouts(const RunConfig& config, const Task& task, const Tokenizer& tokenizer, Sampler& sampler,
           Background* background = nullptr, const PromptScreen* screen = nullptr,
           Team* team = nullptr);

  // Draws from `draws` on (the number of problems drawn before) and moves it; with a curriculum,
  // from what was recorded about earlier draws. The samples' keys are
  // {seed, step, position of the problem among the draws of this step, index}. When `stop` becomes
  // true it throws Interrupted, and everything is as it was before the call.
  Rollout collect(int64_t step, int64_t& draws, const std::atomic<bool>* stop = nullptr);
  // As if the last collect() had not been.
  void undo_collect(int64_t& draws);

  // The parts of collect(), for those who collect one group at a time (rl/elastic_pipeline.h).
  // Problem of a draw; with a curriculum one that differs from `taken` where that is possible.
  int64_t draw_problem(int64_t draw, const std::vector<int64_t>& taken);
  // Its group without samples; none when the prompt is left out. Any thread, one at a time.
  std::optional<Group> prepare(int64_t problem, const std::atomic<bool>* stop);
  GenerationRequest request_of(const Group& group, uint32_t step, uint32_t problem) const;
  // Throws Error: so many prompts in a row cannot be sampled from.
  [[noreturn]] void fail_skips(int64_t skips) const;
  // Verdicts, rewards and whether each group has a signal (by advantages among these groups). Not
  // beside prepare().
  void grade(std::vector<Group>& groups, const std::atomic<bool>* stop);
  // What the step has learnt, groups and discarded in the order drawn; `problems` are the indices
  // of both together. Fills counts and level.
  void settle(Rollout& rollout, const std::vector<int64_t>& problems);
  // As if the last settle() had not been.
  void undo_settle();

  // What the curriculum has learnt about the problems, for checkpoints; null without one.
  Json curriculum_state() const;
  void restore_curriculum(const Json& state);
  // Whether there is a token budget (async.token_budget), and the groups that it has set aside.
  bool sets_aside() const { return config_.async.token_budget > 0; }
  const std::vector<OpenGroup>& aside() const { return aside_; }
  void restore_aside(std::vector<OpenGroup> aside) { aside_ = std::move(aside); }
  // How long their samples were, likewise.
  Json lengths_state() const { return lengths_.state(); }
  void restore_lengths(const Json& state) { lengths_.restore(state); }

 private:
  struct Drawn {
    std::vector<Group> groups;
    Tickets tickets;
    std::vector<int64_t> indices;  // of their problems
  };
  // Problems with their prompts. `taken` are the indices that this step has drawn before; the new
  // ones are added.
  Drawn draw(int count, int64_t& draws, std::vector<int64_t>& taken, Rollout& rollout,
             const std::atomic<bool>* stop);
  Drawn generate(int64_t step, int count, int64_t& draws, std::vector<int64_t>& taken,
                 Rollout& rollout, const std::atomic<bool>* stop);
  std::optional<Group> with_prompt(Problem problem);
  Rollout collect_groups(int64_t step, int64_t& draws, const std::atomic<bool>* stop);
  Rollout collect_within_budget(int64_t step, int64_t& draws, const std::atomic<bool>* stop);
  void open_groups(int64_t& draws, std::vector<OpenGroup>& open, std::vector<int64_t>& taken,
                   Rollout& rollout, const std::atomic<bool>* stop);
  void go_on(int64_t step, uint32_t& slot, std::vector<OpenGroup>& open, Tickets& tickets,
             Rollout& rollout, const std::atomic<bool>* stop);

  const RunConfig& config_;
  const Task& task_;
  const Tokenizer& tokenizer_;
  PromptEncoder prompts_;
  Sampler& sampler_;
  Background* background_;
  const PromptScreen* screen_;
  Team* team_;
  std::unique_ptr<ProblemSampler> curriculum_;  // null: every problem once an epoch
  int64_t draws_before_ = 0;                    // the last collect() or settle()
  std::unique_ptr<ProblemSampler> curriculum_before_;
  LengthHistory lengths_, lengths_before_;       // of training problems; before the last collect()
  SamplingConfig sampling_;                      // config.sampling with the task's stop strings
  std::vector<OpenGroup> aside_, aside_before_;  // oldest first; before the last collect()
};

}  // namespace zeroth

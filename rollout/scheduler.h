// Decides what every forward call of the engine computes. Pure bookkeeping: no model, no clock, no
// randomness, so its decisions are a function of the calls made, and it is tested without weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "rollout/page_pool.h"
#include "rollout/step_plan.h"

namespace zeroth {

struct SchedulerLimits {
  int64_t pages = 0;        // pages of the cache
  int max_batch = 1;        // sequences that run together
  int prefill_chunk = 512;  // rows per step beyond one row for each sequence
};

// Continuous batching. Sequences are admitted in the order of add() and a running sequence is never
// older than a waiting one. A request's prompt is computed once; its sequences share the full pages
// and own a copy of the last partial one. When pages run out, the youngest sequence loses its pages
// and later computes them again from its tokens. The oldest running sequence always advances, so
// every plan makes progress. Not thread safe.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& limits);

  // `prompt` (at least one token) must stay alive. Returns the index of the first of `samples`
  // sequences. A sequence may reach prompt.size() + max_tokens tokens; pages_needed() of that must
  // not exceed limits.pages.
  int add(std::span<const TokenId> prompt, int samples);
  // A sequence that nothing was planned for yet has these tokens already, as if it had been
  // preempted behind them.
  void begin_with(int sequence, std::span<const TokenId> generated);
  // Nothing in the cache is of use any more (the weights have changed): all that is not finished is
  // computed again from its tokens. Between commit() and plan().
  void restart();

  // Pages that one sequence holds at its longest. The last sampled token is never written.
  static int64_t pages_needed(int64_t prompt, int64_t max_tokens);

  bool done() const { return unfinished_ == 0; }

  // Tokens that may come next in a sequence that is decoding(), for the next plan() only. Where pages
  // are to spare they are computed behind its newest token, with a draw for each; rows of tokens
  // that are not drawn are computed again when their turn comes.
  void draft(int sequence, std::span<const TokenId> tokens);
  // Whether a sequence waits for nothing but the row of its newest token.
  bool decoding(int sequence) const;

  // The next step; must be executed in full, then reported by commit(). Not to be called when done.
  const StepPlan& plan();
  // One outcome for each draw of the last plan, in its order.
  void commit(std::span<const Outcome> outcomes);

  int64_t preemptions() const { return preemptions_; }
  int64_t free_pages() const { return pool_.free_pages(); }
  int running() const { return static_cast<int>(running_.size()); }
  const std::vector<int>& running_sequences() const { return running_; }  // oldest first

 private:
  // A prompt holds its pages from its first use until its last sequence has finished, so that a
  // sequence admitted late or preempted need not compute it again; under pressure it lets go.
  struct Prompt {
    std::span<const TokenId> tokens;
    int unfinished = 0;
    std::vector<int32_t> pages;
    int64_t cached = 0;   // positions in the cache
    int64_t planned = 0;  // rows of the step that is being planned
    int64_t size() const { return static_cast<int64_t>(tokens.size()); }
    bool ready() const { return cached == size(); }
  };
  struct Sequence {
    int request = 0;
    bool attached = false;  // owns pages, which begin with those of the prompt
    bool finished = false;
    std::vector<TokenId> generated;
    std::vector<TokenId> draft;  // for the next step
    std::vector<int32_t> pages;
    int64_t cached = 0;
    int64_t planned = 0;
  };

  int64_t length(const Sequence& s) const;
  int64_t remaining(const Sequence& s) const { return length(s) - s.cached; }
  void admit();
  int64_t demand(const Sequence& s) const;
  void schedule(int s);
  void schedule_prompt(int s);
  bool attach(int s);
  bool grow(int s, int64_t positions);
  int64_t grow_for_draft(Sequence& sequence);
  void cut_drafts();
  int32_t allocate(int s);
  bool reclaim(int s);
  void preempt(int s);
  void release(std::vector<int32_t>& pages);
  void release_prompt(Prompt& prompt);
  void finish(int s);
  void emit();
  void emit_sequence(int s);
  void emit_prompt(int request);
  void emit_rows(const StepPlan::Source& source, std::span<const int32_t> pages, int64_t begin,
                 int64_t rows);

  SchedulerLimits limits_;
  PagePool pool_;
  std::vector<Prompt> prompts_;
  std::vector<Sequence> sequences_;
  std::vector<int> running_;  // ascending
  std::vector<int> drafted_;  // sequences with a draft
  int next_ = 0;              // every waiting sequence is at or after it
  int64_t unfinished_ = 0;
  int64_t budget_ = 0;
  int64_t preemptions_ = 0;
  StepPlan plan_;
};

}  // namespace zeroth

// Decides what every forward call of the engine computes. Pure bookkeeping: no model, no clock, no
// randomness, so its decisions are a function of the calls made, and it is tested without weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/trajectory.h"
#include "kernels/ops.h"
#include "rollout/page_pool.h"

namespace zeroth {

struct SchedulerLimits {
  int64_t pages = 0;        // pages of the cache
  int max_batch = 1;        // sequences that run together
  int prefill_chunk = 512;  // rows per step beyond one row for each sequence
};

// One token to draw after the forward call of a step.
struct Draw {
  int sequence;  // index of add() order
  int request;
  int row;  // row of the step that it continues; -1: the last prompt row, kept by the caller
};

// One forward call. Copies come first, then the rows (laid out as ForwardBatch wants them), then
// the kept prompt rows are saved, then the draws are made.
struct StepPlan {
  struct Copy {
    int32_t from, to;
  };
  struct PromptRow {
    int request, row;
  };
  std::vector<Copy> copies;
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence;
  // By the indices in `sequence`: whose rows they are; sequence -1: the request's prompt.
  struct Source {
    int request, sequence;
  };
  std::vector<Source> sources;
  std::vector<int32_t> page_table;
  std::vector<int32_t> page_begin;
  std::vector<kernels::KvWrite> writes;
  std::vector<PromptRow> prompt_rows;  // hidden rows that later draws with row == -1 continue
  std::vector<Draw> draws;
  int64_t prefill_rows = 0;  // rows that are not the newest token of a sequence
  void clear();
};

struct Outcome {
  TokenId token;
  bool finished;
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

  // The next step; must be executed in full, then reported by commit(). Not to be called when done.
  const StepPlan& plan();
  // One outcome for each draw of the last plan, in its order.
  void commit(std::span<const Outcome> outcomes);

  int64_t preemptions() const { return preemptions_; }
  int64_t free_pages() const { return pool_.free_pages(); }
  int running() const { return static_cast<int>(running_.size()); }

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
  int next_ = 0;              // every waiting sequence is at or after it
  int64_t unfinished_ = 0;
  int64_t budget_ = 0;
  int64_t preemptions_ = 0;
  StepPlan plan_;
};

}  // namespace zeroth

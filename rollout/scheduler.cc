#include "rollout/scheduler.h"

#include <algorithm>
#include <stdexcept>

namespace zeroth {

using kernels::kPageTokens;

namespace {

int64_t pages_for(int64_t positions) { return (positions + kPageTokens - 1) / kPageTokens; }

}  // namespace

void StepPlan::clear() {
  copies.clear();
  tokens.clear();
  positions.clear();
  sequence.clear();
  sources.clear();
  page_table.clear();
  page_begin.assign(1, 0);
  writes.clear();
  prompt_rows.clear();
  draws.clear();
  prefill_rows = 0;
}

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits), pool_(limits.pages) {
  if (limits.max_batch < 1 || limits.prefill_chunk < 1) {
    throw std::logic_error("scheduler limits must be at least 1");
  }
}

int64_t Scheduler::pages_needed(int64_t prompt, int64_t max_tokens) {
  return pages_for(prompt + max_tokens - 1);
}

int Scheduler::add(std::span<const TokenId> prompt, int samples) {
  const int first = static_cast<int>(sequences_.size());
  Prompt& added = prompts_.emplace_back();
  added.tokens = prompt;
  added.unfinished = samples;
  for (int i = 0; i < samples; ++i) {
    sequences_.emplace_back().request = static_cast<int>(prompts_.size()) - 1;
  }
  unfinished_ += samples;
  return first;
}

void Scheduler::begin_with(int sequence, std::span<const TokenId> generated) {
  sequences_[sequence].generated.assign(generated.begin(), generated.end());
}

void Scheduler::restart() {
  for (const int s : running_) {
    Sequence& sequence = sequences_[s];
    release(sequence.pages);
    sequence.attached = false;
    sequence.cached = 0;
  }
  for (Prompt& prompt : prompts_) release_prompt(prompt);
}

void Scheduler::draft(int s, std::span<const TokenId> tokens) {
  sequences_[s].draft.assign(tokens.begin(), tokens.end());
  drafted_.push_back(s);
}

bool Scheduler::decoding(int s) const {
  const Sequence& sequence = sequences_[s];
  return sequence.attached && !sequence.generated.empty() && remaining(sequence) == 1;
}

int64_t Scheduler::length(const Sequence& s) const {
  return prompts_[s.request].size() + static_cast<int64_t>(s.generated.size());
}

const StepPlan& Scheduler::plan() {
  plan_.clear();
  admit();
  budget_ = limits_.prefill_chunk;
  // Oldest first. Whoever runs out of pages takes them from younger sequences, which have not been
  // looked at yet, or goes back to waiting itself, being the youngest then.
  for (size_t i = 0; i < running_.size(); ++i) schedule(running_[i]);
  emit();
  return plan_;
}

// Pages that a sequence will ask for within the next step or two.
int64_t Scheduler::demand(const Sequence& s) const {
  const Prompt& prompt = prompts_[s.request];
  if (s.attached) return pages_for(length(s)) - static_cast<int64_t>(s.pages.size());
  return pages_for(length(s) + 1) - prompt.size() / kPageTokens;
}

void Scheduler::admit() {
  const int end = static_cast<int>(sequences_.size());
  int64_t available = pool_.free_pages();
  int counted = -1;  // the last prompt whose missing pages have been counted
  const auto take = [&](const Sequence& s) {
    const Prompt& prompt = prompts_[s.request];
    int64_t pages = demand(s);
    if (!s.attached && s.request != counted) {
      counted = s.request;
      pages += pages_for(prompt.size()) - static_cast<int64_t>(prompt.pages.size());
    }
    return pages;
  };
  for (const int s : running_) available -= take(sequences_[s]);
  while (static_cast<int>(running_.size()) < limits_.max_batch && next_ < end) {
    const Sequence& s = sequences_[next_];
    if (!s.finished) {
      available -= take(s);
      // A page in reserve for each running sequence: admitting into the last pages would only
      // preempt again a few tokens later. An empty batch must take what there is.
      if (!running_.empty() && available < static_cast<int64_t>(running_.size())) return;
      running_.push_back(next_);
    }
    ++next_;
  }
}

void Scheduler::schedule(int s) {
  Sequence& sequence = sequences_[s];
  Prompt& prompt = prompts_[sequence.request];
  if (!sequence.attached && !prompt.ready()) {
    if (prompt.planned == 0) schedule_prompt(s);
    return;
  }
  if (sequence.generated.empty()) return;  // draws its first token from the kept prompt row
  if (!sequence.attached && !attach(s)) return;
  const int64_t rows = remaining(sequence) == 1 ? 1 : std::min(remaining(sequence), budget_);
  if (rows == 0 || !grow(s, sequence.cached + rows)) return;
  if (remaining(sequence) > 1) {
    budget_ -= rows;
    sequence.planned = rows;
  } else {
    sequence.planned = rows + grow_for_draft(sequence);
  }
}

void Scheduler::schedule_prompt(int s) {
  Prompt& prompt = prompts_[sequences_[s].request];
  if (budget_ == 0) return;
  while (static_cast<int64_t>(prompt.pages.size()) < pages_for(prompt.size())) {
    const int32_t page = allocate(s);
    if (page < 0) {
      release_prompt(prompt);  // half a prompt would only block others
      return preempt(s);
    }
    prompt.pages.push_back(page);
  }
  prompt.planned = std::min(prompt.size() - prompt.cached, budget_);
  budget_ -= prompt.planned;
}

// Gives a sequence the pages of its computed prompt. False when it had to be preempted.
bool Scheduler::attach(int s) {
  Sequence& sequence = sequences_[s];
  Prompt& prompt = prompts_[sequence.request];
  bool take_over = prompt.unfinished == 1;
  int32_t copy = -1;
  if (!take_over && prompt.size() % kPageTokens != 0) {
    copy = allocate(s);
    if (copy < 0 && s != running_.front()) {
      preempt(s);
      return false;
    }
    take_over = copy < 0;  // the oldest sequence goes on even when there is no page to copy to
  }
  if (take_over) {
    sequence.pages = std::move(prompt.pages);
    prompt.pages.clear();
    prompt.cached = 0;
  } else {
    sequence.pages = prompt.pages;
    if (copy >= 0) {
      plan_.copies.push_back({sequence.pages.back(), copy});
      sequence.pages.back() = copy;
    }
    const size_t shared = prompt.tokens.size() / kPageTokens;
    for (size_t i = 0; i < shared; ++i) pool_.retain(sequence.pages[i]);
  }
  sequence.attached = true;
  sequence.cached = prompt.size();
  return true;
}

// Makes sure that `positions` positions have pages. False when the sequence had to be preempted.
bool Scheduler::grow(int s, int64_t positions) {
  std::vector<int32_t>& pages = sequences_[s].pages;
  while (static_cast<int64_t>(pages.size()) < pages_for(positions)) {
    const int32_t page = allocate(s);
    if (page < 0) {
      preempt(s);
      return false;
    }
    pages.push_back(page);
  }
  return true;
}

// Cuts the draft to what pages can be had for, and returns its length. Nobody loses pages to a
// guess, and each running sequence keeps one in reserve, as in admit().
int64_t Scheduler::grow_for_draft(Sequence& sequence) {
  std::vector<TokenId>& draft = sequence.draft;
  const int64_t wanted = pages_for(length(sequence) + static_cast<int64_t>(draft.size()));
  const auto reserve = static_cast<int64_t>(running_.size());
  while (static_cast<int64_t>(sequence.pages.size()) < wanted && pool_.free_pages() > reserve)
    sequence.pages.push_back(pool_.allocate());
  const int64_t room = static_cast<int64_t>(sequence.pages.size()) * kPageTokens - length(sequence);
  if (static_cast<int64_t>(draft.size()) > room) draft.resize(room);
  return static_cast<int64_t>(draft.size());
}

// What was cached behind the newest token is not what follows it, or was drawn and finished.
void Scheduler::cut_drafts() {
  for (const int s : drafted_) {
    Sequence& sequence = sequences_[s];
    sequence.draft.clear();
    sequence.cached = std::min(sequence.cached, length(sequence) - 1);
    const auto needed = static_cast<size_t>(pages_for(length(sequence)));
    for (; sequence.pages.size() > needed; sequence.pages.pop_back())
      pool_.release(sequence.pages.back());
  }
  drafted_.clear();
}

int32_t Scheduler::allocate(int s) {
  for (;;) {
    const int32_t page = pool_.allocate();
    if (page >= 0 || !reclaim(s)) return page;
  }
}

// Takes pages from the youngest holder that is younger than sequence s. False: there is none.
bool Scheduler::reclaim(int s) {
  const int request = sequences_[s].request;
  int holder = static_cast<int>(prompts_.size()) - 1;
  while (holder > request && prompts_[holder].pages.empty()) --holder;
  const int youngest = running_.back();
  if (youngest > s && sequences_[youngest].request >= holder) {
    preempt(youngest);
    return true;
  }
  if (holder > request) {
    release_prompt(prompts_[holder]);
    return true;
  }
  // The oldest sequence, running alone now, may drop the pages that its prompt keeps for siblings.
  Prompt& own = prompts_[request];
  if (s == running_.front() && sequences_[s].attached && !own.pages.empty()) {
    release_prompt(own);
    return true;
  }
  return false;
}

void Scheduler::preempt(int s) {
  if (running_.size() == 1 || running_.back() != s) {
    throw std::logic_error("the oldest sequence does not fit into the cache");
  }
  Sequence& sequence = sequences_[s];
  if (sequence.attached) ++preemptions_;
  release(sequence.pages);
  sequence.attached = false;
  sequence.cached = 0;
  running_.pop_back();
  next_ = s;
}

void Scheduler::release(std::vector<int32_t>& pages) {
  for (const int32_t page : pages) pool_.release(page);
  pages.clear();
}

void Scheduler::release_prompt(Prompt& prompt) {
  release(prompt.pages);
  prompt.cached = 0;
}

void Scheduler::emit() {
  // Rows of decoding sequences first: most draws then continue neighbouring rows.
  for (const int s : running_) {
    if (sequences_[s].planned > 0 && remaining(sequences_[s]) == 1) emit_sequence(s);
  }
  int last = -1;
  for (const int s : running_) {
    const int request = sequences_[s].request;
    if (request != last && prompts_[request].planned > 0) emit_prompt(request);
    last = request;
    if (sequences_[s].planned > 0) emit_sequence(s);
  }
  for (const int s : running_) {
    const Sequence& sequence = sequences_[s];
    if (sequence.generated.empty() && prompts_[sequence.request].ready()) {
      plan_.draws.push_back({s, sequence.request, -1});
    }
  }
}

void Scheduler::emit_sequence(int s) {
  Sequence& sequence = sequences_[s];
  const std::span<const TokenId> prompt = prompts_[sequence.request].tokens;
  const int64_t shift = static_cast<int64_t>(prompt.size()), length = this->length(sequence);
  for (int64_t i = sequence.cached; i < sequence.cached + sequence.planned; ++i) {
    plan_.tokens.push_back(i < shift    ? prompt[i]
                           : i < length ? sequence.generated[i - shift]
                                        : sequence.draft[i - length]);
  }
  emit_rows({sequence.request, s}, sequence.pages, sequence.cached, sequence.planned);
  sequence.cached += sequence.planned;
  plan_.prefill_rows += sequence.planned;
  sequence.planned = 0;
  if (remaining(sequence) > 0) return;
  const auto ahead = static_cast<int>(sequence.cached - length);
  plan_.prefill_rows -= 1 + ahead;
  const int newest = static_cast<int>(plan_.tokens.size()) - 1 - ahead;
  for (int i = 0; i <= ahead; ++i) plan_.draws.push_back({s, sequence.request, newest + i, i});
}

void Scheduler::emit_prompt(int request) {
  Prompt& prompt = prompts_[request];
  const auto begin = prompt.tokens.begin() + prompt.cached;
  plan_.tokens.insert(plan_.tokens.end(), begin, begin + prompt.planned);
  emit_rows({request, -1}, prompt.pages, prompt.cached, prompt.planned);
  prompt.cached += prompt.planned;
  plan_.prefill_rows += prompt.planned;
  prompt.planned = 0;
  if (prompt.ready()) {
    plan_.prompt_rows.push_back({request, static_cast<int>(plan_.tokens.size()) - 1});
  }
}

void Scheduler::emit_rows(const StepPlan::Source& source, std::span<const int32_t> pages,
                          int64_t begin, int64_t rows) {
  plan_.sources.push_back(source);
  const int32_t index = static_cast<int32_t>(plan_.page_begin.size()) - 1;
  for (int64_t i = begin; i < begin + rows; ++i) {
    const int64_t slot = int64_t{pages[i / kPageTokens]} * kPageTokens + i % kPageTokens;
    plan_.writes.push_back({static_cast<int32_t>(plan_.positions.size()), slot});
    plan_.positions.push_back(static_cast<int32_t>(i));
    plan_.sequence.push_back(index);
  }
  const auto used = pages.begin() + pages_for(begin + rows);
  plan_.page_table.insert(plan_.page_table.end(), pages.begin(), used);
  plan_.page_begin.push_back(static_cast<int32_t>(plan_.page_table.size()));
}

void Scheduler::commit(std::span<const Outcome> outcomes) {
  if (outcomes.size() != plan_.draws.size()) throw std::logic_error("one outcome for each draw");
  bool any = false;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (!outcomes[i].drawn) continue;
    sequences_[plan_.draws[i].sequence].generated.push_back(outcomes[i].token);
    if (outcomes[i].finished) finish(plan_.draws[i].sequence);
    any |= outcomes[i].finished;
  }
  cut_drafts();
  if (any) std::erase_if(running_, [&](int s) { return sequences_[s].finished; });
}

void Scheduler::finish(int s) {
  Sequence& sequence = sequences_[s];
  release(sequence.pages);
  sequence.finished = true;
  sequence.attached = false;
  sequence.generated = {};  // others may join for a long time
  --unfinished_;
  Prompt& prompt = prompts_[sequence.request];
  if (--prompt.unfinished == 0) release_prompt(prompt);
}

}  // namespace zeroth

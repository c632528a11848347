#include "rl/rollouts.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "rl/chat.h"
#include "rl/draw.h"
#include "rl/grading.h"
#include "rl/turns.h"

namespace zeroth {
namespace {

// Tells the curriculum how often each problem was solved; samples without a verdict say nothing.
void record_outcomes(const std::vector<Group>& groups, const std::vector<int64_t>& indices,
                     ProblemSampler& curriculum) {
  for (size_t i = 0; i < groups.size(); ++i) {
    double successes = 0;
    int attempts = 0;
    for (const Sample& sample : groups[i].samples) {
      const Verdict* accuracy = accuracy_verdict(sample);
      if (sample.finish == FinishReason::kAborted || accuracy == nullptr ||
          !has_score(accuracy->reason))
        continue;
      successes += std::clamp(accuracy->score, 0.0, 1.0);
      ++attempts;
    }
    curriculum.record(indices[i], successes, attempts);
  }
}

}  // namespace

Rollouts::Rollouts(const RunConfig& config, const Task& task, const Tokenizer& tokenizer,
                   Sampler& sampler, Background* background, const PromptScreen* screen, Team* team)
    : config_(config),
      task_(task),
      tokenizer_(tokenizer),
      prompts_(tokenizer, config.prompt.bos),
      sampler_(sampler),
      background_(background),
      screen_(screen),
      team_(team),
      lengths_(task.size(Split::kTrain)),
      lengths_before_(lengths_),
      sampling_(config.sampling) {
  for (const std::string& stop : task.stop_strings()) {
    if (std::find(sampling_.stop.begin(), sampling_.stop.end(), stop) == sampling_.stop.end()) {
      sampling_.stop.push_back(stop);
    }
  }
  if (sets_aside() && task.environment() != nullptr) {
    fail_usage("async.token_budget = " + std::to_string(config.async.token_budget) + " with task " +
                   task.name() + ", which has turns: its environment would wait",
               "set it to 0");
  }
  if (task.size(Split::kTrain) < 1) {
    fail("task " + task.name() + " has no training problem", "give it data or other options");
  }
  if (config.curriculum.mode != "uniform") {
    curriculum_ = std::make_unique<ProblemSampler>(config.curriculum, config.seed,
                                                   task.size(Split::kTrain), task.levels());
  }
}

Rollouts::Drawn Rollouts::draw(int count, int64_t& draws, std::vector<int64_t>& taken,
                               Rollout& rollout, const std::atomic<bool>* stop) {
  // More than a file in which nearly every row is bad; a task that makes only such prompts must not
  // be drawn from for ever.
  const int64_t most_skips = 1000 + 100 * int64_t{count};
  Drawn drawn;
  while (static_cast<int>(drawn.groups.size()) < count) {
    const size_t missing = count - drawn.groups.size();
    std::vector<int64_t> indices;
    for (size_t i = 0; i < missing; ++i) {
      indices.push_back(draw_problem(draws++, taken));
      taken.push_back(indices.back());
    }
    auto problems = fetch_problems(task_, Split::kTrain, indices, background_, stop);
    for (size_t i = 0; i < missing; ++i) {
      auto group = with_prompt(std::move(problems[i]));
      if (!group) {
        if (++rollout.skipped_prompts > most_skips) fail_skips(rollout.skipped_prompts);
        continue;
      }
      drawn.groups.push_back(std::move(*group));
      drawn.indices.push_back(indices[i]);
    }
  }
  return drawn;
}

int64_t Rollouts::draw_problem(int64_t draw, const std::vector<int64_t>& taken) {
  return curriculum_ ? curriculum_->draw(taken)
                     : drawn_index(config_.seed, draw, task_.size(Split::kTrain));
}

std::optional<Group> Rollouts::with_prompt(Problem problem) {
  Group group;
  group.problem = std::move(problem);
  group.prompt_tokens = encode_prompt(prompts_, task_, group.problem);
  if (screen_ != nullptr && screen_->skips(group.problem, group.prompt_tokens)) return std::nullopt;
  return group;
}

void Rollouts::fail_skips(int64_t skips) const {
  fail("task " + task_.name() + ": " + std::to_string(skips) +
           " prompts in a row cannot be sampled from",
       "look at its prompts: zeroth doctor CONFIG");
}

std::optional<Group> Rollouts::prepare(int64_t problem, const std::atomic<bool>* stop) {
  auto problems = fetch_problems(task_, Split::kTrain, {problem}, background_, stop);
  return with_prompt(std::move(problems[0]));
}

GenerationRequest Rollouts::request_of(const Group& group, uint32_t step, uint32_t problem) const {
  GenerationRequest request;
  request.prompt = group.prompt_tokens;
  request.seed = config_.seed;
  request.step = step;
  request.problem = problem;
  request.samples = config_.samples_per_prompt;
  request.sampling = sampling_;
  return request;
}

void Rollouts::grade(std::vector<Group>& groups, const std::atomic<bool>* stop) {
  grade_groups(task_, config_.rubric(), groups, background_, stop);
  check_stop(stop, "grading");
  assign_advantages(groups, config_.advantage);
}

void Rollouts::settle(Rollout& rollout, const std::vector<int64_t>& problems) {
  if (curriculum_) curriculum_before_ = std::make_unique<ProblemSampler>(*curriculum_);
  size_t first = 0;
  for (const auto* groups : {&rollout.groups, &rollout.discarded}) {
    const auto begin = problems.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = begin + static_cast<std::ptrdiff_t>(groups->size());
    if (curriculum_) record_outcomes(*groups, {begin, end}, *curriculum_);
    first += groups->size();
    for (const Group& group : *groups) {
      rollout.prompt_tokens += static_cast<int64_t>(group.prompt_tokens.size());
      for (const Sample& sample : group.samples) rollout.sampled_tokens += drawn_tokens(sample);
    }
  }
  if (config_.curriculum.mode == "levels") rollout.level = curriculum_->level();
}

void Rollouts::undo_settle() {
  if (curriculum_) *curriculum_ = *curriculum_before_;
}

Rollouts::Drawn Rollouts::generate(int64_t step, int count, int64_t& draws,
                                   std::vector<int64_t>& taken, Rollout& rollout,
                                   const std::atomic<bool>* stop) {
  const Stopwatch watch(rollout.generate_seconds);
  const auto first_slot = static_cast<int64_t>(taken.size());
  Drawn drawn = draw(count, draws, taken, rollout, stop);
  std::vector<Group>& groups = drawn.groups;
  std::vector<GenerationRequest> requests(count);
  for (int i = 0; i < count; ++i) {
    requests[i] =
        request_of(groups[i], static_cast<uint32_t>(step), static_cast<uint32_t>(first_slot + i));
    requests[i].expected_tokens = lengths_.expected(drawn.indices[i]);
    rollout.prompt_tokens += static_cast<int64_t>(groups[i].prompt_tokens.size());
  }
  const SamplerStats before = sampler_.stats();
  TurnSetup turns{&task_, &tokenizer_};
  if (screen_ != nullptr) turns.context = screen_->context();
  turns.background = background_;
  turns.team = team_;
  auto samples = generate_turns(sampler_, turns, groups, requests,
                                {.cancel = stop, .tickets = &drawn.tickets});
  rollout.add_work(before, sampler_.stats());
  check_stop(stop, "sampling");
  for (int i = 0; i < count; ++i) {
    groups[i].samples = std::move(samples[i]);
    lengths_.note(drawn.indices[i], groups[i].samples);
    for (const Sample& sample : groups[i].samples) {
      rollout.sampled_tokens += drawn_tokens(sample);
    }
  }
  return drawn;
}

Json Rollouts::curriculum_state() const { return curriculum_ ? curriculum_->state() : Json(); }

void Rollouts::restore_curriculum(const Json& state) {
  if (curriculum_) curriculum_->restore(state);
}

Rollout Rollouts::collect(int64_t step, int64_t& draws, const std::atomic<bool>* stop) {
  draws_before_ = draws;
  lengths_before_ = lengths_;
  aside_before_ = aside_;
  if (curriculum_) curriculum_before_ = std::make_unique<ProblemSampler>(*curriculum_);
  try {
    return sets_aside() ? collect_within_budget(step, draws, stop)
                        : collect_groups(step, draws, stop);
  } catch (const Interrupted&) {
    undo_collect(draws);
    throw;
  }
}

void Rollouts::undo_collect(int64_t& draws) {
  draws = draws_before_;
  lengths_ = lengths_before_;
  aside_ = aside_before_;
  if (curriculum_) *curriculum_ = *curriculum_before_;
}

// ---- within a token budget

// prompts_per_step new groups; `taken` are the problems of all that are open.
void Rollouts::open_groups(int64_t& draws, std::vector<OpenGroup>& open,
                           std::vector<int64_t>& taken, Rollout& rollout,
                           const std::atomic<bool>* stop) {
  Drawn drawn = draw(config_.prompts_per_step, draws, taken, rollout, stop);
  for (size_t i = 0; i < drawn.groups.size(); ++i) {
    rollout.prompt_tokens += static_cast<int64_t>(drawn.groups[i].prompt_tokens.size());
    open.push_back({std::move(drawn.groups[i]), drawn.indices[i]});
  }
}

// Another budget for every sample that is open. `slot`: of the next new group among those of the
// step.
void Rollouts::go_on(int64_t step, uint32_t& slot, std::vector<OpenGroup>& open, Tickets& tickets,
                     Rollout& rollout, const std::atomic<bool>* stop) {
  std::vector<GenerationRequest> whole;
  for (const OpenGroup& one : open) {
    const StreamKey key = one.drawn == OpenGroup::kFresh
                              ? StreamKey{config_.seed, static_cast<uint32_t>(step), slot++, 0}
                              : one.group.samples[0].key;
    whole.push_back(request_of(one.group, key.step, key.problem));
    whole.back().expected_tokens = lengths_.expected(one.problem);
  }
  const int64_t context =
      screen_ != nullptr ? screen_->context() : std::numeric_limits<int64_t>::max();
  const BudgetedRequests budgeted(open, std::move(whole), config_.async.token_budget, context);
  const SamplerStats before = sampler_.stats();
  auto samples = sampler_.generate(budgeted.requests(), {.cancel = stop, .tickets = &tickets});
  rollout.add_work(before, sampler_.stats());
  check_stop(stop, "sampling");
  rollout.sampled_tokens += budgeted.settle(std::move(samples), open, tickets);
}

Rollout Rollouts::collect_within_budget(int64_t step, int64_t& draws,
                                        const std::atomic<bool>* stop) {
  Rollout rollout;
  std::vector<int64_t> problems;
  {
    const Stopwatch watch(rollout.generate_seconds);
    std::vector<OpenGroup> open = std::exchange(aside_, {});
    std::vector<int64_t> taken;
    for (const OpenGroup& one : open) taken.push_back(one.problem);
    uint32_t slot = 0;
    Tickets tickets;
    const auto complete = [](const OpenGroup& one) { return one.drawn == 0; };
    // In the first step, mostly: where nothing is complete it goes on, with new groups behind the
    // others, so that later steps have some of every age.
    for (rollout.rounds = 1;; ++rollout.rounds) {
      open_groups(draws, open, taken, rollout, stop);
      go_on(step, slot, open, tickets, rollout, stop);
      if (std::any_of(open.begin(), open.end(), complete)) break;
    }
    for (size_t i = 0; i < open.size(); ++i) {
      if (!complete(open[i])) {
        aside_.push_back(std::move(open[i]));
        continue;
      }
      lengths_.note(open[i].problem, open[i].group.samples);
      problems.push_back(open[i].problem);
      rollout.groups.push_back(std::move(open[i].group));
      rollout.tickets.push_back(std::move(tickets[i]));
    }
  }
  rollout.set_aside = static_cast<int>(aside_.size());
  const Stopwatch watch(rollout.grade_seconds);
  grade_groups(task_, config_.rubric(), rollout.groups, background_, stop, team_);
  check_stop(stop, "grading");
  if (curriculum_) record_outcomes(rollout.groups, problems, *curriculum_);
  if (config_.curriculum.mode == "levels") rollout.level = curriculum_->level();
  assign_advantages(rollout.groups, config_.advantage);
  return rollout;
}

Rollout Rollouts::collect_groups(int64_t step, int64_t& draws, const std::atomic<bool>* stop) {
  Rollout rollout;
  std::vector<Group> constant;
  Tickets constant_tickets;
  std::vector<int64_t> taken;
  for (int round = 0;; ++round) {
    const int missing = config_.prompts_per_step - static_cast<int>(rollout.groups.size());
    Drawn batch = generate(step, missing, draws, taken, rollout, stop);
    std::vector<Group>& drawn = batch.groups;
    {
      const Stopwatch watch(rollout.grade_seconds);
      grade_groups(task_, config_.rubric(), drawn, background_, stop, team_);
    }
    check_stop(stop, "grading");
    if (curriculum_) record_outcomes(drawn, batch.indices, *curriculum_);
    assign_advantages(drawn, config_.advantage);
    rollout.rounds = round + 1;
    const bool filter = config_.dynamic_sampling.max_rounds > 0;
    for (size_t i = 0; i < drawn.size(); ++i) {
      const bool wanted = !filter || !drawn[i].zero_variance;
      (wanted ? rollout.groups : constant).push_back(std::move(drawn[i]));
      (wanted ? rollout.tickets : constant_tickets).push_back(std::move(batch.tickets[i]));
    }
    const bool full = static_cast<int>(rollout.groups.size()) == config_.prompts_per_step;
    if (full || round >= config_.dynamic_sampling.max_rounds) break;
  }
  if (config_.curriculum.mode == "levels") rollout.level = curriculum_->level();
  // Still not full: the step goes on with groups that teach nothing rather than fail.
  for (size_t i = 0; i < constant.size(); ++i) {
    const bool full = static_cast<int>(rollout.groups.size()) == config_.prompts_per_step;
    (full ? rollout.discarded : rollout.groups).push_back(std::move(constant[i]));
    if (!full) rollout.tickets.push_back(std::move(constant_tickets[i]));
  }
  return rollout;
}

}  // namespace zeroth

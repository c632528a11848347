#include "rl/rollouts.h"

#include <algorithm>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/stopwatch.h"
#include "rl/chat.h"
#include "rl/draw.h"
#include "rl/grading.h"

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
                   Sampler& sampler, Background* background, const PromptScreen* screen)
    : config_(config),
      task_(task),
      prompts_(tokenizer, config.prompt.bos),
      sampler_(sampler),
      background_(background),
      screen_(screen),
      sampling_(config.sampling) {
  for (const std::string& stop : task.stop_strings()) {
    if (std::find(sampling_.stop.begin(), sampling_.stop.end(), stop) == sampling_.stop.end()) {
      sampling_.stop.push_back(stop);
    }
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
      indices.push_back(curriculum_ ? curriculum_->draw(taken)
                                    : drawn_index(config_.seed, draws, task_.size(Split::kTrain)));
      ++draws;
      taken.push_back(indices.back());
    }
    auto problems = fetch_problems(task_, Split::kTrain, indices, background_, stop);
    for (size_t i = 0; i < missing; ++i) {
      Group group;
      group.problem = std::move(problems[i]);
      group.prompt_tokens = encode_prompt(prompts_, task_, group.problem);
      if (screen_ != nullptr && screen_->skips(group.problem, group.prompt_tokens)) {
        if (++rollout.skipped_prompts > most_skips) {
          fail("task " + task_.name() + ": " + std::to_string(rollout.skipped_prompts) +
                   " prompts in a row cannot be sampled from",
               "look at its prompts: zeroth doctor CONFIG");
        }
        continue;
      }
      drawn.groups.push_back(std::move(group));
      drawn.indices.push_back(indices[i]);
    }
  }
  return drawn;
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
    requests[i].prompt = groups[i].prompt_tokens;
    requests[i].seed = config_.seed;
    requests[i].step = static_cast<uint32_t>(step);
    requests[i].problem = static_cast<uint32_t>(first_slot + i);
    requests[i].samples = config_.samples_per_prompt;
    requests[i].sampling = sampling_;
    rollout.prompt_tokens += static_cast<int64_t>(groups[i].prompt_tokens.size());
  }
  auto samples = sampler_.generate(requests, {.cancel = stop, .tickets = &drawn.tickets});
  check_stop(stop, "sampling");
  for (int i = 0; i < count; ++i) {
    groups[i].samples = std::move(samples[i]);
    for (const Sample& sample : groups[i].samples) {
      rollout.sampled_tokens += static_cast<int64_t>(sample.tokens.size());
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
  if (curriculum_) curriculum_before_ = std::make_unique<ProblemSampler>(*curriculum_);
  try {
    return collect_groups(step, draws, stop);
  } catch (const Interrupted&) {
    undo_collect(draws);
    throw;
  }
}

void Rollouts::undo_collect(int64_t& draws) {
  draws = draws_before_;
  if (curriculum_) *curriculum_ = *curriculum_before_;
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
      grade_groups(task_, config_.rubric(), drawn, background_, stop);
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
  // Normalisation over the batch (per_reward) is over the groups that were kept.
  assign_advantages(rollout.groups, config_.advantage);
  return rollout;
}

}  // namespace zeroth

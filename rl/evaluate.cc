#include "rl/evaluate.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/error.h"
#include "core/interrupted.h"
#include "rl/chat.h"
#include "rl/grading.h"
#include "rl/turns.h"

namespace zeroth {
namespace {

// Samples held in memory at a time.
constexpr int64_t kChunkSamples = 16384;

// Groups with a prompt and no samples yet, and the indices of their problems.
struct Chunk {
  std::vector<Group> groups;
  std::vector<int64_t> indices;
};

// The next `count` problems from `next` on that can be sampled from, fewer at the end of the split;
// `next` is moved.
Chunk next_chunk(const PromptEncoder& prompts, const Task& task, const EvalOptions& options,
                 int64_t count, int64_t& next, int64_t& skipped) {
  Chunk chunk;
  const int64_t size = task.size(options.split);
  while (static_cast<int64_t>(chunk.groups.size()) < count && next < size) {
    std::vector<int64_t> indices(
        std::min(count - static_cast<int64_t>(chunk.groups.size()), size - next));
    std::iota(indices.begin(), indices.end(), next);
    next += static_cast<int64_t>(indices.size());
    auto problems = fetch_problems(task, options.split, indices, options.background, options.stop);
    for (size_t i = 0; i < indices.size(); ++i) {
      Group group;
      group.problem = std::move(problems[i]);
      group.prompt_tokens = encode_prompt(prompts, task, group.problem);
      if (options.screen != nullptr && options.screen->skips(group.problem, group.prompt_tokens)) {
        ++skipped;
        continue;
      }
      chunk.groups.push_back(std::move(group));
      chunk.indices.push_back(indices[i]);
    }
  }
  return chunk;
}

void sample_groups(Sampler& sampler, const TurnSetup& turns, const EvalOptions& options,
                   const SamplingConfig& sampling, Chunk& chunk,
                   const std::function<void()>& finished) {
  std::vector<Group>& groups = chunk.groups;
  std::vector<GenerationRequest> requests(groups.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    requests[i] = {groups[i].prompt_tokens,
                   options.seed,
                   kEvaluationStep,
                   static_cast<uint32_t>(chunk.indices[i]),
                   0,
                   options.samples,
                   sampling};
    if (options.lengths != nullptr)
      requests[i].expected_tokens = options.lengths->expected(chunk.indices[i]);
  }
  auto samples = generate_turns(
      sampler, turns, groups, requests,
      {.cancel = options.stop, .done = [&](int, int, const Sample&) { finished(); }});
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].samples = std::move(samples[i]);
    if (options.lengths != nullptr) options.lengths->note(chunk.indices[i], groups[i].samples);
  }
}

}  // namespace

EvalReport evaluate(Sampler& sampler, const Tokenizer& tokenizer, const Task& task,
                    const EvalOptions& options) {
  const int64_t problems = std::min(options.n, task.size(options.split));
  if (problems < 1) {
    fail("task " + task.name() + " has no problem to evaluate on",
         "give it data, or n of at least 1");
  }
  SamplingConfig sampling = options.sampling;
  for (const std::string& stop : task.stop_strings()) {
    if (std::find(sampling.stop.begin(), sampling.stop.end(), stop) == sampling.stop.end()) {
      sampling.stop.push_back(stop);
    }
  }
  const PromptEncoder prompts(tokenizer, options.bos);
  TurnSetup turns{&task, &tokenizer};
  if (options.screen != nullptr) turns.context = options.screen->context();
  turns.background = options.background;
  turns.team = options.team;
  const std::vector<std::string>& scripts = options.rubric.shaping.scripts;
  Evaluation evaluation(task.name(), scripts);
  int64_t done = 0;
  const auto finished = [&] {
    ++done;
    if (options.on_progress) options.on_progress(done, problems * options.samples);
  };
  const int64_t most = std::max<int64_t>(1, kChunkSamples / options.samples);
  std::map<std::string, Evaluation> parts;
  int64_t next = 0, sampled = 0, skipped = 0;
  while (sampled < problems) {
    Chunk chunk =
        next_chunk(prompts, task, options, std::min(most, problems - sampled), next, skipped);
    if (chunk.groups.empty()) break;
    sampled += static_cast<int64_t>(chunk.groups.size());
    sample_groups(sampler, turns, options, sampling, chunk, finished);
    const auto check = [&] {
      if (options.stop == nullptr || !options.stop->load()) return;
      throw Interrupted("evaluation was interrupted after " + std::to_string(done) + " samples",
                        "run it again for a result");
    };
    check();
    grade_groups(task, options.rubric, chunk.groups, options.background, options.stop,
                 options.team);
    check();
    for (const Group& group : chunk.groups) {
      const std::string cluster = task.cluster(group.problem);
      evaluation.add(group, cluster);
      const std::string part = task.part(group.problem);
      if (!part.empty()) parts.try_emplace(part, part, scripts).first->second.add(group, cluster);
      if (options.on_group) options.on_group(group);
    }
  }
  if (sampled == 0) {
    fail("task " + task.name() + ": no problem of the split can be sampled from",
         "its prompts are empty or fill the policy's context");
  }
  EvalReport report = evaluation.report();
  report.skipped = skipped;
  for (const auto& [name, part] : parts) report.parts[name] = part.report();
  return report;
}

}  // namespace zeroth

#include "rl/evaluate.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/interrupted.h"
#include "rl/grading.h"

namespace zeroth {
namespace {

// Samples held in memory at a time.
constexpr int64_t kChunkSamples = 16384;

std::vector<Group> sample_groups(Engine& engine, const Tokenizer& tokenizer, const Task& task,
                                 const EvalOptions& options, const SamplingConfig& sampling,
                                 int64_t first, int64_t count,
                                 const std::function<void()>& finished) {
  std::vector<Group> groups(static_cast<size_t>(count));
  std::vector<GenerationRequest> requests(groups.size());
  std::vector<int64_t> indices(groups.size());
  std::iota(indices.begin(), indices.end(), first);
  auto problems =
      fetch_problems(task, options.split, indices, options.background, options.stop);
  for (size_t i = 0; i < groups.size(); ++i) {
    const int64_t index = indices[i];
    groups[i].problem = std::move(problems[i]);
    groups[i].prompt_tokens = tokenizer.encode(groups[i].problem.prompt);
    requests[i] = {
        groups[i].prompt_tokens, options.seed, kEvaluationStep, static_cast<uint32_t>(index), 0,
        options.samples,         sampling};
  }
  auto samples =
      engine.generate(requests, options.stop, [&](int, int, const Sample&) { finished(); });
  for (size_t i = 0; i < groups.size(); ++i) groups[i].samples = std::move(samples[i]);
  return groups;
}

void grade(const Task& task, const EvalOptions& options, std::vector<Group>& groups) {
  auto verdicts = grade_groups(task, groups, options.background, options.stop);
  size_t next = 0;
  for (Group& group : groups) {
    for (Sample& sample : group.samples) {
      sample.verdicts = std::move(verdicts[next++]);
      sample.reward = 0;
      for (const Verdict& verdict : sample.verdicts) {
        if (verdict.reason != Reason::kCheckerError)
          sample.reward += verdict.score * verdict.weight;
      }
    }
  }
}

}  // namespace

EvalReport evaluate(Engine& engine, const Tokenizer& tokenizer, const Task& task,
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
  Evaluation evaluation(task.name());
  int64_t done = 0;
  const auto finished = [&] {
    ++done;
    if (options.on_progress) options.on_progress(done, problems * options.samples);
  };
  const int64_t chunk = std::max<int64_t>(1, kChunkSamples / options.samples);
  for (int64_t first = 0; first < problems; first += chunk) {
    std::vector<Group> groups = sample_groups(engine, tokenizer, task, options, sampling, first,
                                              std::min(chunk, problems - first), finished);
    const auto check = [&] {
      if (options.stop == nullptr || !options.stop->load()) return;
      throw Interrupted("evaluation was interrupted after " + std::to_string(done) + " samples",
                        "run it again for a result");
    };
    check();
    grade(task, options, groups);
    check();
    for (const Group& group : groups) {
      evaluation.add(group, task.cluster(group.problem));
      if (options.on_group) options.on_group(group);
    }
  }
  return evaluation.report();
}

}  // namespace zeroth

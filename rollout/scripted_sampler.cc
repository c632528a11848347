#include "rollout/scripted_sampler.h"

#include <utility>

#include "core/error.h"

namespace zeroth {

ScriptedSampler::ScriptedSampler(Script script) : script_(std::move(script)) {}

void ScriptedSampler::publish(WeightsPtr weights) {
  std::lock_guard lock(mutex_);
  ready_ = weights != nullptr;
  if (weights) published_.push_back(weights->version());
  weights_ = std::move(weights);
}

Sample ScriptedSampler::play(const GenerationRequest& request, int index,
                             const WeightsPtr& weights) {
  Sample sample = script_(request, index, weights);
  const auto limit = static_cast<size_t>(request.sampling.max_tokens);
  if (sample.tokens.size() > limit) {
    sample.tokens.resize(limit);
    sample.finish = FinishReason::kLength;
  }
  sample.logprobs.resize(sample.tokens.size());
  sample.entropies.resize(sample.tokens.size());
  return sample;
}

WeightsPtr ScriptedSampler::current() {
  std::lock_guard lock(mutex_);
  if (!ready_) {
    fail("sampler: no weights are published", "call publish() before generate()");
  }
  return weights_;
}

std::vector<std::vector<Sample>> ScriptedSampler::generate(
    const std::vector<GenerationRequest>& requests, const GenerateOptions& options) {
  const WeightsPtr weights = current();  // of this call, whatever is published meanwhile
  std::vector<std::vector<Sample>> out(requests.size());
  if (options.tickets) options.tickets->assign(requests.size(), {});
  for (size_t r = 0; r < requests.size(); ++r) {
    const GenerationRequest& request = requests[r];
    out[r].resize(request.samples);
    if (options.tickets) (*options.tickets)[r].resize(request.samples);
    stats_.prompt_tokens += static_cast<int64_t>(request.prompt.size());
    for (int i = 0; i < request.samples; ++i) {
      Sample& sample = out[r][i];
      const bool cancelled = options.cancel != nullptr && options.cancel->load();
      if (!cancelled) sample = play(request, i, weights);
      sample.key = {request.seed, request.step, request.problem,
                    request.first_sample + static_cast<uint32_t>(i)};
      sample.versions = {{0, weights ? weights->version() : 0}};
      if (cancelled) sample.finish = FinishReason::kAborted;
      stats_.sampled_tokens += static_cast<int64_t>(sample.tokens.size());
      if (!cancelled && options.done) options.done(static_cast<int>(r), i, sample);
    }
  }
  return out;
}

}  // namespace zeroth

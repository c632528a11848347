// Where rl/ gets its samples from: prompts in, groups of samples out, by the weights that were
// published last. The sampler may be this process (rollout/local_sampler.h), a script for tests
// (rollout/scripted_sampler.h), or a fleet.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/trajectory.h"
#include "policy/weights.h"
#include "rollout/sampling_config.h"

namespace zeroth {

// One prompt and the samples wanted of it. Sample i draws token t with key {seed, step, problem,
// first_sample + i} at position t (from 0). Temperature 0 ignores top_k, top_p and min_p.
// Samples that were begun elsewhere, or under other weights, go on behind the tokens they have:
// their prefix is computed by the weights of now, so that every token is a function of (the weights
// that drew it, the tokens before it, its key).
struct GenerationRequest {
  std::vector<TokenId> prompt;
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t problem = 0;
  uint32_t first_sample = 0;
  int samples = 1;
  SamplingConfig sampling;
  // How long its samples are likely to be, by earlier ones of the prompt; 0 = unknown. Long ones are
  // begun first, which changes no sample.
  double expected_tokens = 0;
  // [samples] what each has so far (tokens, log-probs, .., version segments); empty: nothing. Of
  // samplers in this process only.
  std::vector<Sample> begun = {};
};

// Where this process has kept the activations of a sample, for training to take over
// (policy/activation_store.h). Of use in this process only, and only while the store is at that
// epoch. Empty when the sample was made elsewhere, or its rows were not (all) kept.
struct ActivationTicket {
  std::vector<int32_t> rows;  // [prompt + tokens - 1] numbers in the store, prompt first
  int64_t epoch = 0;
};
using Tickets = std::vector<std::vector<ActivationTicket>>;  // [request][sample]

// Which weights a generate() samples with.
enum class WeightsUse {
  kOwn,     // those that were published when it began
  kNewest,  // a request keeps those that were the newest when it joined (GenerateOptions::more)
  kSwitch   // the newest from the next token on, also for samples that are begun: Sample::versions
};

struct GenerateOptions {
  WeightsUse weights = WeightsUse::kOwn;
  // When it becomes true, generation ends soon: unfinished samples keep the tokens they have and
  // come back as FinishReason::kAborted. May be null.
  const std::atomic<bool>* cancel = nullptr;
  // Called from generate(), on its thread, as samples finish (not for aborted ones); may be null.
  // The sample may be taken by copy only: it comes back in generate()'s result, too.
  std::function<void(int request, int sample, const Sample&)> done = {};
  // Called from generate(), on its thread, with every token that is drawn (the last one of the
  // sample so far), before done(); false ends the sample there, as aborted. May be null. As
  // GenerationRequest::begun, of samplers in this process only: others refuse both with an Error.
  std::function<bool(int request, int sample, const Sample&)> drew = {};
  // Asked on generate()'s thread for requests that join in, which begin with weights of that
  // version, or newer ones with kSwitch; they are numbered behind the others. In this process it is
  // asked before every forward call, but with kNewest not while requests of older weights run.
  // Then generate() returns when nothing is left and none come, with empty samples: done() has had
  // them.
  std::function<std::vector<GenerationRequest>(WeightsVersion version)> more = {};
  // Asks for activations to be kept, where the sampler can; set to tickets of every sample. Null:
  // none are kept. With kOwn only.
  Tickets* tickets = nullptr;
};

// Sums over the life of a sampler.
struct SamplerStats {
  int64_t prompt_tokens = 0;  // rows of prompts, and of sequences computed again after preemption
  int64_t sampled_tokens = 0;
  int64_t forward_calls = 0;
  int64_t preemptions = 0;
  // Tokens that were tried ahead, and those of them that were drawn (engine.draft_tokens).
  int64_t draft_tokens = 0, draft_accepted = 0;
  double seconds = 0;  // inside generate()
};

// Not thread safe but for publish(), which may be called beside generate().
class Sampler {
 public:
  virtual ~Sampler() = default;

  // Makes these the weights of every generate() that starts from now on. One that runs goes on
  // as GenerateOptions::weights says. Null lets go of the last ones, whose memory can then be that of the next version;
  // generate() is an Error until then. Never blocks. Weights of another model than those before are
  // an Error.
  virtual void publish(WeightsPtr weights) = 0;

  // Blocks until every sample has finished; result [request][sample]. A sample ends with an
  // end-of-text token or a stop string (kStop), or at max_tokens or the end of the policy's context
  // (kLength). A trace depends only on (weights, prompt, key, sampling): not on what else is
  // generated, where, or in which order. Errors, before any work: an empty prompt, a token outside
  // the vocabulary, a prompt that fills the context, sampling out of range.
  virtual std::vector<std::vector<Sample>> generate(const std::vector<GenerationRequest>& requests,
                                                    const GenerateOptions& options = {}) = 0;

  virtual const SamplerStats& stats() const = 0;
};

}  // namespace zeroth

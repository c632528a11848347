// Generation: prompts in, groups of samples out.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "core/trajectory.h"
#include "policy/weights.h"
#include "text/tokenizer.h"

namespace zeroth {

struct SamplingConfig {
  double temperature = 1.0;
  int top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  int max_tokens = 256;
  std::vector<std::string> stop;  // generation ends when the decoded text contains one
  template <class V>
  void fields(V& v) {
    v("temperature", temperature, "softmax temperature; 0 = greedy", Range{0, 100});
    v("top_k", top_k, "keep the k most likely tokens; 0 = all", Range{0, 1 << 20});
    v("top_p", top_p, "keep the most likely tokens up to this mass; 1 = all", Range{1e-6, 1});
    v("min_p", min_p, "drop tokens below this share of the best one's probability; 0 = none",
      Range{0, 1});
    v("max_tokens", max_tokens, "longest completion in tokens", Range{1, 1 << 20});
    v("stop", stop, "strings that end a completion");
  }
};

struct EngineConfig {
  int max_batch = 256;          // sequences decoded together
  int64_t cache_pages = 0;      // of 16 tokens; 0 = what max_batch sequences need, within cache_mb
  int cache_mb = 1024;          // memory bound of the cache
  int prefill_chunk = 512;      // prompt tokens per forward call
  bool record_experts = false;  // keep routed experts and router confidence
  template <class V>
  void fields(V& v) {
    v("max_batch", max_batch, "sequences decoded together", Range{1, 65536});
    v("cache_pages", cache_pages, "KV pages of 16 tokens; 0 = what max_batch needs", Range{0, 1e9});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("prefill_chunk", prefill_chunk, "prompt tokens per forward call", Range{1, 1 << 20});
    v("record_experts", record_experts,
      "keep the routed experts of every token and how sure the router was of the first");
  }
};

// One prompt and the samples wanted of it. Sample i draws token t with key {seed, step, problem,
// first_sample + i} at position t (from 0). Temperature 0 ignores top_k, top_p and min_p.
struct GenerationRequest {
  std::vector<TokenId> prompt;
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t problem = 0;
  uint32_t first_sample = 0;
  int samples = 1;
  SamplingConfig sampling;
};

// Sums over the life of an engine.
struct EngineStats {
  int64_t prompt_tokens = 0;  // rows of prompts, and of sequences computed again after preemption
  int64_t sampled_tokens = 0;
  int64_t forward_calls = 0;
  int64_t preemptions = 0;
  double seconds = 0;  // inside generate()
};

// Continuous batching over a paged cache. A trace depends only on (weights, prompt, key, sampling):
// not on max_batch, cache size, chunking, preemption or what else is generated. Not thread safe but
// for publish(); several engines may share weights.
class Engine {
 public:
  // The tokenizer must outlive the engine; it may be null: then samples have no text, stop strings
  // are an Error, and no token ends a sample before max_tokens.
  Engine(WeightsPtr weights, const Tokenizer* tokenizer, const EngineConfig& config);
  ~Engine();

  // Calls of generate() from now on sample with these; one that runs goes on with its own. Weights
  // of another shape than the first ones are an Error. Null lets go of what was published, so that
  // its memory can be that of the next version; generate() is an Error until then. Never blocks.
  // Thread safe.
  void publish(WeightsPtr weights);

  // Blocks until every sample has finished; result [request][sample]. A sample ends with an
  // end-of-text token or a stop string (kStop), or at max_tokens or the end of the policy's context
  // (kLength). Sample::experts[t] and router_confidence[t] are those of the row that token t was
  // drawn from. done(request, sample index within it, sample) is called as samples finish, in an
  // order that depends on the arguments only; may be null. When `stop` becomes true, generation
  // ends before the next forward call; unfinished samples keep their tokens, come back as
  // FinishReason::kAborted, and done is not called for them. Errors, before any work: an empty
  // prompt, a token outside the vocabulary, a prompt that fills the context, a prompt and
  // max_tokens that exceed the whole cache, sampling out of range. With `store`, what is computed
  // is kept there while it has room, after what it holds of these weights, and the samples'
  // activation_rows say where.
  std::vector<std::vector<Sample>> generate(
      const std::vector<GenerationRequest>& requests, const std::atomic<bool>* stop = nullptr,
      const std::function<void(int request, int sample, const Sample&)>& done = {},
      ActivationStore* store = nullptr);
  const EngineStats& stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth

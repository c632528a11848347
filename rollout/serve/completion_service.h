// The OpenAI completion protocols over a sampler in this process: /v1/models, /v1/completions,
// /v1/chat/completions, with streaming. What a request gets depends on it and its seed alone, never
// on what else is served.
#pragma once

#include <memory>
#include <string>

#include "net/http_server.h"
#include "policy/weights.h"
#include "rollout/engine_config.h"
#include "rollout/serve/completion_request.h"

namespace zeroth::serve {

struct ServiceOptions {
  EngineConfig engine;
  int queue = 1024;  // completions that run or wait; further requests are told to try again
};

struct ServiceStats {
  int64_t requests = 0, refused = 0, busy = 0, abandoned = 0;
  int64_t completions = 0, prompt_tokens = 0, sampled_tokens = 0;
  int64_t draft_tokens = 0, draft_accepted = 0;  // SamplerStats
  int64_t in_flight = 0;                         // completions now
};

// Any thread may call it; sampling has a thread of its own.
class CompletionService {
 public:
  // The model's tokenizer and config must outlive it.
  CompletionService(WeightsPtr weights, const ServedModel& model, const ServiceOptions& options);
  ~CompletionService();  // ends what runs; its clients are told
  CompletionService(const CompletionService&) = delete;

  // Requests from now on are answered by these weights (not null); those that run keep theirs.
  void publish(WeightsPtr weights);

  // Answers a request of these protocols, now or later. False: it is none.
  bool handle(const HttpExchangePtr& exchange);
  // Most bytes of a body for such a path; 0: it is none.
  static uint64_t body_limit(const std::string& path);
  ServiceStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth::serve

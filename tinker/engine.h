// The thread that computes: what models learn in the order in which it was asked for, and samples
// between that, those by the same weights together.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "rollout/engine_config.h"
#include "text/tokenizer.h"
#include "tinker/futures.h"
#include "tinker/samplers.h"

namespace zeroth::tinker {

struct EngineOptions {
  EngineConfig sampling;
  int queue = 1024;   // samples that run or wait
  uint64_t seed = 0;  // of requests without one
};

struct EngineStats {
  int64_t samples = 0, sampled_tokens = 0, works = 0, waiting_samples = 0;
};

// Thread safe.
class Engine {
 public:
  // The others outlive it.
  Engine(WeightsPtr base, const Tokenizer& tokenizer, const EngineOptions& options,
         Samplers& samplers, Futures& futures);
  ~Engine();  // ends what runs

  // Calls work() on the thread; what it returns or throws goes to the future `id`, which was begun.
  // A Refusal or a usage Error is the client's fault.
  void post(const std::string& id, std::function<Result()> work);

  // Draws the samples for the future `id`, which was begun. Sample i of a request is a function of
  // the weights, the request and its seed; without one the seed follows from EngineOptions::seed, the
  // sampling session's number and the request's. Throws Refusal for what no sampler takes, and (429)
  // when too many samples wait.
  void sample(const std::string& id, SampleRequest request, const Sampler& sampler);
  EngineStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth::tinker

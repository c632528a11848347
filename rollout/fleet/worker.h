// A worker: draws samples for a run that it reaches by HTTP. It needs nothing but the address and
// the token; model, tokenizer and weights come from there.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "rollout/engine_config.h"
#include "rollout/fleet/link.h"

namespace zeroth::fleet {

struct WorkerOptions {
  LinkOptions link;
  std::string name;     // unique in the fleet
  EngineConfig engine;  // batching and memory; record_experts is the run's
  const kernels::Operators* operators = &kernels::cpu_operators();  // that compute
  bool stay = false;  // wait for the next run when one ends
  // Says what happens, one line a call; may be null.
  std::function<void(const std::string&)> note = {};
  // For tests of what coordinators do with workers that lie: changes a result before it is sent.
  std::function<void(const Lease&, Result&)> tamper = {};
};

struct WorkerSummary {
  int64_t leases = 0, samples = 0, tokens = 0, dropped = 0, sessions = 0;
  WeightsCache::Stats weights;
  double sampling_s = 0;
  int64_t draft_tokens = 0, draft_accepted = 0;  // SamplerStats
};

// Works until the run ends, or `stop`; gives back what it holds then. A coordinator that restarts
// (its run was resumed, or is another one) is joined again. Throws Refused when it may not work for
// the run: wrong token, another numeric contract, quarantine; Error when the run stays out of reach.
WorkerSummary work(const WorkerOptions& options, const std::atomic<bool>& stop);

}  // namespace zeroth::fleet

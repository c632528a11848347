// Samples from workers elsewhere, behind the interface of every sampler: the same bytes as in this
// process, whatever workers come, die or lie.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "rollout/fleet/coordinator.h"
#include "rollout/sampler.h"

namespace zeroth::fleet {

class FleetSampler : public Sampler {
 public:
  // Listens at once. `note` (may be null) is told what a user should see, one line a call.
  FleetSampler(WeightsPtr weights, const FleetConfig& config, FleetSetup setup,
               std::function<void(const std::string&)> note = {});
  ~FleetSampler() override;

  void publish(WeightsPtr weights) override;
  // Waits for workers as long as it takes. done() is called in the order in which results come.
  // A share of the groups (FleetConfig::audit_rate) is computed again on this thread before it
  // counts; a worker that was wrong is shut out and its pieces are made again, by whom they may.
  // Requests that join by `more` are handed to done() whole, one after the other; with kNewest those
  // of which no worker has heard yet go on to weights that are published meanwhile, with kSwitch
  // workers go on by newer weights as they get them. Tickets stay empty; `drew` and `begun` are
  // Errors. Cancelled samples have no tokens.
  std::vector<std::vector<Sample>> generate(const std::vector<GenerationRequest>& requests,
                                            const GenerateOptions& options = {}) override;
  const SamplerStats& stats() const override;

  Coordinator& coordinator();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth::fleet

// A sampler whose samples the ranks of a team draw in shares and exchange.
#pragma once

#include <memory>

#include "ranks/team.h"
#include "rollout/sampler.h"

namespace zeroth {

// Every rank makes the same calls with the same requests and gets all samples. Activation tickets
// are of the own share only. When any rank was asked to stop, the samples are of no use and the
// stop that all have agreed on is set (ranks/team.h). done() is called for all samples, for those
// of other ranks at the end.
class SharedSampler : public Sampler {
 public:
  enum class Shares {
    kEqual,  // neighbouring requests, in the order of ranks
    kFirst   // rank 0 draws all, as where workers draw them for it
  };
  // `own` draws this rank's share; null on ranks that have none.
  SharedSampler(std::unique_ptr<Sampler> own, Team& team, Shares shares);

  void publish(WeightsPtr weights) override;
  std::vector<std::vector<Sample>> generate(const std::vector<GenerationRequest>& requests,
                                            const GenerateOptions& options = {}) override;
  const SamplerStats& stats() const override;

 private:
  int64_t begin_of(int64_t requests, int rank) const;

  std::unique_ptr<Sampler> own_;
  Team& team_;
  Shares shares_;
  SamplerStats none_;
};

}  // namespace zeroth

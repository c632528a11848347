// Partial rollouts (Kimi k1.5, arXiv 2501.12599): groups with samples that did not end
// within a step's token budget, and go on in the next step by its weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rollout/sampler.h"

namespace zeroth {

// A group that is being sampled over several steps.
struct OpenGroup {
  static constexpr int64_t kFresh = -1;

  Group group;
  int64_t problem = 0;  // index of its problem
  // Tokens of every sample that has not ended: as many in all of them, and each is kLength. 0: all
  // have ended; kFresh: nothing is sampled yet.
  int64_t drawn = kFresh;

  bool is_open(const Sample& sample) const {
    return sample.finish == FinishReason::kLength && drawn > 0 &&
           static_cast<int64_t>(sample.tokens.size()) == drawn;
  }
};

// Cuts what open groups need into requests of at most `budget` tokens a sample, and puts together
// what comes back. Of a group that has samples every open sample is a request of its own, which has
// begun; of a fresh one all are one request. Samples keep the keys they were first drawn with.
class BudgetedRequests {
 public:
  // `whole`: the request for all of a group without a budget, by open group. `context`: of the
  // policy, in tokens.
  BudgetedRequests(const std::vector<OpenGroup>& open, std::vector<GenerationRequest> whole,
                   int64_t budget, int64_t context);

  const std::vector<GenerationRequest>& requests() const { return requests_; }
  // Takes in samples [request][sample] of requests(), and leaves in `tickets` (of the requests on
  // entry) those of the groups: empty but of fresh groups, whose samples are all of one version.
  // Returns how many tokens were drawn.
  int64_t settle(std::vector<std::vector<Sample>> samples, std::vector<OpenGroup>& open,
                 Tickets& tickets) const;

 private:
  struct Place {
    size_t group;
    int sample;  // -1: all of the group
  };
  std::vector<Place> places_;         // by request
  std::vector<int64_t> most_tokens_;  // a sample of the group can have, by group
  std::vector<int64_t> bounds_;       // it may have after this round, likewise
  std::vector<GenerationRequest> requests_;
};

// As bytes, for checkpoints: everything comes back bit for bit. Throws Error that names `source` for
// what pack_open_groups has not made.
std::string pack_open_groups(const std::vector<OpenGroup>& open);
std::vector<OpenGroup> unpack_open_groups(const std::string& bytes, const std::string& source);

}  // namespace zeroth

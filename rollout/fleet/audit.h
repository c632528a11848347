// Whether samples are what a request asks for, bit by bit.
//
// A sample is a pure function of (weights, prompt, key, rules), so there is nothing to tolerate: one
// forward pass over its tokens gives every row that they were drawn from, the draws are made again
// with the same keys, and everything is compared with ==.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "policy/weights.h"
#include "rollout/sampler.h"
#include "text/tokenizer.h"

namespace zeroth::fleet {

// What samples look like, without their numbers: how many, lengths, ranges, finite values, kept
// sets and experts where they are due, and an end where the rules put it. Returns what is wrong, or
// nothing; then keys, finish reasons and texts are set. Costs no forward pass. `tokenizer` may be
// null, as a sampler's.
std::string check_shape(const GenerationRequest& request, const PolicyConfig& model,
                        const Tokenizer* tokenizer, bool record_experts,
                        std::vector<Sample>& samples);

// What a second look found; `field` is empty when every bit is right.
struct AuditFinding {
  int sample = -1;
  int64_t token = -1;
  std::string
      field;  // "token", "logprob", "entropy", "kept_ids", "experts", "prompt_experts", "router_confidence"
  double claimed = 0, found = 0;
  bool honest() const { return field.empty(); }
  std::string describe() const;
};

// Computes samples that passed check_shape again. The prompt is computed once for all of them.
AuditFinding audit(const Weights& weights, const GenerationRequest& request,
                   const std::vector<Sample>& samples);
// The same for samples of several versions of the weights: each token by the version that its
// segment names. `weights` gives those of a version, never null.
AuditFinding audit_segments(const std::function<WeightsPtr(WeightsVersion)>& weights,
                            const GenerationRequest& request, const std::vector<Sample>& samples);

// The first difference of what sampling leaves (tokens, numbers, kept sets, experts) between two
// results of one request.
AuditFinding compare_samples(const std::vector<Sample>& claimed, const std::vector<Sample>& found);

}  // namespace zeroth::fleet

// Sums over the samples of one step, from which every curve of the page and every scan/ metric is
// computed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/trajectory.h"
#include "scan/scanners.h"

namespace zeroth {

// A difference of two shares with its interval.
struct ShareDifference {
  double value = 0, low = 0, high = 0;
  int64_t n_with = 0, n_without = 0;  // 0: undefined
};

// p1 - p2 with the hybrid score interval at 95% (Newcombe 1998, Statistics in Medicine 17:873,
// method 10).
ShareDifference difference_of_shares(int64_t hits1, int64_t n1, int64_t hits2, int64_t n2);

// How the routing of a token is laid out: [layers, top_k] ids below `experts`. All 0: not known.
struct ExpertShape {
  int layers = 0, top_k = 0, experts = 0;
  size_t row() const { return static_cast<size_t>(layers) * static_cast<size_t>(top_k); }
};

struct StepStats {
  int64_t groups = 0, samples = 0, tokens = 0, zero_variance = 0;
  double reward = 0, entropy = 0, logprob = 0,
         reward_squares = 0;  // entropy, logprob: sums over tokens
  // Samples whose grading failed count among none of right, wrong, reflected and several.
  int64_t failed = 0;
  int64_t correct = 0, truncated = 0, aborted = 0, masked = 0, loops = 0, switched = 0;
  double repetition = 0;
  // Reflection against outcome: [reflected][correct].
  int64_t reflected[2][2] = {{0, 0}, {0, 0}};
  // The same for traces with one candidate at most against traces with several.
  int64_t several[2][2] = {{0, 0}, {0, 0}};
  int64_t flips[kFlips] = {0, 0, 0, 0};
  int64_t flip_samples = 0;  // with a W->R flip
  int64_t aha_samples = 0, candidates = 0;
  std::vector<int64_t> words, word_samples, substrings;  // [lists]
  std::vector<double> extra;                             // [own scanners]
  std::vector<std::pair<std::string, double>> verdicts;  // sum of score by reward part
  std::vector<std::vector<int64_t>> experts;             // [layer][expert] routed tokens

  void add(const Group& group, const std::vector<SampleScan>& scans);
  // Routed tokens of a sample; one whose experts do not fill rows of that shape is left out.
  void add_experts(const Sample& sample, const ExpertShape& shape);
  int64_t graded() const { return samples - failed; }
  ShareDifference reflection_gap() const;  // P(correct | reflected) - P(correct | not)
  ShareDifference thinking_gap()
      const;  // P(correct | several candidates) - P(correct | at most one)

  Json to_json() const;
  static StepStats from_json(const Json& json);
};

// The curves as metrics, in a fixed order: scan/reflection_rate, scan/flips_wrong_to_right, ...
Json scan_metrics(const StepStats& stats, const std::vector<WordList>& lists,
                  const std::vector<std::shared_ptr<const Scanner>>& scanners);

}  // namespace zeroth

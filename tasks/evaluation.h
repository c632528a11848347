// Statistics of graded samples: what `zeroth eval` reports.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// Probability that at least one of k samples drawn without replacement from n, of which c are
// right, is right: 1 - C(n-c, k) / C(n, k), the unbiased estimator of Chen et al. 2021 (arXiv
// 2107.03374), equation 1. 0 <= c <= n, 1 <= k <= n.
double pass_at_k(int n, int c, int k);

struct Interval {
  double lo = 0, hi = 1;
};

// 95% interval of the mean of values in [0, 1] that depend on each other within a cluster.
// Variance: cluster-robust, G/(G-1) sum_g (sum_{i in g} (x_i - mean))^2 / N^2 (Liang and Zeger,
// Biometrika 1986). Interval: Wilson's score interval at the effective sample size mean (1 - mean)
// / variance, so that it stays in [0, 1] and does not shrink to a point at 0% or 100%, where the
// number of clusters is the sample size. No values: [0, 1].
Interval clustered_interval(std::span<const double> values, std::span<const std::string> clusters);

// Score expected of the majority answer: ties are broken at random, samples without an answer do
// not vote. 0 when none has an answer. Empty strings are "no answer".
double majority_score(std::span<const std::string> answers, std::span<const double> scores);

struct EvalReport {
  std::string task;
  int64_t n = 0;         // problems
  int samples = 0;       // K, of each
  double pass_at_1 = 0;  // mean share of right samples
  double pass_at_K = 0, avg_at_K = 0,
         cons_at_K = 0;  // avg: mean accuracy score, partial credit included
  Interval ci95;         // of pass@1, clustered
  int64_t clusters = 0;
  double mean_length = 0;         // tokens
  double truncated = 0;           // share of samples that the length limit ended
  double tokens_per_correct = 0;  // tokens of all samples / right samples; 0 without any
  double errors = 0;  // share of samples without a verdict (checker error, bad gold, aborted); left
                      // out elsewhere
  Json pass_curve;    // "pass@2", "pass@4", .. up to K
  std::map<std::string, EvalReport> parts;  // of a mixture, by name
  int64_t skipped = 0;                      // problems that could not be sampled from
  Json facts;  // means of the checkers' facts and of the other rewards; X_accuracy = sum X_right /
               // sum X

  // The contract of `zeroth eval --json`, extras at the end.
  Json to_json() const;
  // A few lines for a person.
  std::string to_text() const;
};

// Adds up groups whose samples are graded. The accuracy is the verdict "accuracy", or the first
// when none has that name; a sample is right when its score is at least 1. Not thread safe.
class Evaluation {
 public:
  explicit Evaluation(std::string task) : task_(std::move(task)) {}
  // `cluster` as from Task::cluster.
  void add(const Group& group, const std::string& cluster);
  EvalReport report() const;

 private:
  std::string task_;
  std::vector<double> shares_, scores_, majorities_;  // by problem
  std::vector<std::string> clusters_;                 // by problem
  std::vector<int> counts_, rights_;                  // by problem: valid samples, right ones
  int64_t samples_ = 0, valid_ = 0, tokens_ = 0, truncated_ = 0, right_ = 0;
  int largest_ = 0;
  Json sums_ = Json::object();
};

}  // namespace zeroth

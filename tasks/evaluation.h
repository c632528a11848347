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

// 95% interval of sum(totals) / sum(counts), the mean of quantities of any size whose sums and
// numbers are given by problem: a ratio estimate (Cochran, Sampling Techniques, 1977, section 6.4)
// +- 1.96 roots of its variance, G/(G-1) sum_g (sum_{i in g} (total_i - mean count_i))^2 /
// sum(counts)^2. Quantities are not negative, and neither is `lo`. Fewer than two clusters with a
// count say nothing: [0, infinity].
Interval clustered_ratio_interval(std::span<const double> totals, std::span<const double> counts,
                                  std::span<const std::string> clusters);

// A mean over graded samples and its 95% interval, by cluster.
struct Measure {
  std::string name;
  double mean = 0;
  Interval ci95;
};

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
  // What stages are compared by, in this order: "accuracy" (pass@1), "format" (of tasks that grade
  // it), "language" (rewards/shaping.h, language_share), "length" and "right_length" (tokens of all
  // and of right samples; the last is missing where none is right).
  std::vector<Measure> measures;
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

  // Null when there is none of that name.
  const Measure* measure(const std::string& name) const;
  // The contract of `zeroth eval --json`, extras at the end.
  Json to_json() const;
  // A few lines for a person.
  std::string to_text() const;
};

// Adds up groups whose samples are graded. The accuracy is the verdict "accuracy", or the first
// when none has that name; a sample is right when its score is at least 1. Not thread safe.
class Evaluation {
 public:
  // `scripts`: of the measure "language", as in ShapingConfig.
  explicit Evaluation(std::string task, std::vector<std::string> scripts = {"latin"})
      : task_(std::move(task)), scripts_(std::move(scripts)) {}
  // `cluster` as from Task::cluster.
  void add(const Group& group, const std::string& cluster);
  EvalReport report() const;

 private:
  std::vector<Measure> measures() const;

  std::string task_;
  std::vector<std::string> scripts_;
  std::vector<double> shares_, scores_, majorities_;  // by problem
  std::vector<double> languages_;                     // by problem: mean share
  std::vector<double> formats_;                       // by problem with a format verdict
  std::vector<std::string> format_clusters_;
  std::vector<double> lengths_, right_lengths_;  // by problem: tokens of valid and of right samples
  std::vector<std::string> clusters_;            // by problem
  std::vector<int> counts_, rights_;             // by problem: valid samples, right ones
  int64_t samples_ = 0, valid_ = 0, tokens_ = 0, truncated_ = 0, right_ = 0;
  int largest_ = 0;
  Json sums_ = Json::object();
};

}  // namespace zeroth

// The best value so far of the metric that keep_best names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/json.h"

namespace zeroth {

// Not thread safe.
class BestMetric {
 public:
  // `keep_best`: the name of a metric, with "-" in front where less is better; empty: none.
  explicit BestMetric(std::string keep_best) : keep_best_(std::move(keep_best)) {}

  // Whether evaluations give the metric, and not every step.
  bool of_evaluation() const;
  // Its value in a row of metrics.jsonl; none when the row has none. Throws Error(kUsage) when the
  // row must have the metric (`expected`) and has not.
  std::optional<double> find(const Json& row, bool expected) const;
  // Whether a finite value is better than all before.
  bool improved_by(double value) const;
  // The value becomes the best one, of the weights after `step` steps.
  void take(int64_t step, double value);

  int64_t step() const { return step_; }  // -1: none yet
  // For a checkpoint; null before the first value. A state of another metric is ignored.
  Json state() const;
  void restore(const Json& state);

 private:
  bool less_is_better() const { return keep_best_.starts_with("-"); }
  std::string metric() const { return keep_best_.substr(less_is_better() ? 1 : 0); }

  std::string keep_best_;
  int64_t step_ = -1;
  double value_ = 0;
};

}  // namespace zeroth

#include "rl/best_metric.h"

#include <cmath>
#include <vector>

#include "core/error.h"

namespace zeroth {

bool BestMetric::of_evaluation() const { return metric().starts_with("eval/"); }

std::optional<double> BestMetric::find(const Json& row, bool expected) const {
  if (keep_best_.empty()) return std::nullopt;
  const auto found = row.find(metric());
  if (found != row.end() && found->is_number()) return found->get<double>();
  if (!expected) return std::nullopt;
  std::vector<std::string> names;
  for (const auto& [name, value] : row.items()) {
    if (value.is_number()) names.push_back(name);
  }
  const std::string near = nearest(metric(), names);
  fail_usage("keep_best: there is no metric \"" + metric() + "\"",
             (near.empty() ? "" : "did you mean \"" + near + "\"? ") +
                 std::string("the rows of metrics.jsonl show the names"));
}

bool BestMetric::improved_by(double value) const {
  if (!std::isfinite(value)) return false;
  return step_ < 0 || (less_is_better() ? value < value_ : value > value_);
}

void BestMetric::take(int64_t step, double value) {
  step_ = step;
  value_ = value;
}

Json BestMetric::state() const {
  if (step_ < 0) return nullptr;
  return {{"metric", keep_best_}, {"step", step_}, {"value", value_}};
}

void BestMetric::restore(const Json& state) {
  if (!state.is_object() || state.at("metric") != keep_best_) return;
  step_ = state.at("step").get<int64_t>();
  value_ = state.at("value").get<double>();
}

}  // namespace zeroth

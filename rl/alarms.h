// Named conditions under which a run is probably wasting its time, or is broken.
//
//   all_groups_equal   no group had two different rewards, `patience` steps in a row: nothing to
//   learn from entropy_collapse   mean token entropy below min_entropy, `patience` steps in a row
//   mostly_truncated   more than max_truncated of the completions hit the length limit, `patience`
//   steps in a row checker_errors     more than max_checker_errors of the rewards could not be
//   computed in one step gradient_nan       a gradient was not finite; the update was not made.
//   Always stops the run. logp_mismatch      training and sampling disagree about a
//   log-probability. Always stops the run.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

struct AlarmConfig {
  int patience = 5;
  double min_entropy = 0.005;
  double max_truncated = 0.5;
  double max_checker_errors = 0.05;
  std::vector<std::string> stop_on = {"checker_errors"};
  template <class V>
  void fields(V& v) {
    v("patience", patience, "steps in a row before a lasting condition is an alarm", Range{1, 1e9});
    v("min_entropy", min_entropy, "entropy_collapse: mean entropy in nats below this",
      Range{0, 100});
    v("max_truncated", max_truncated, "mostly_truncated: share of completions above this",
      Range{0, 1});
    v("max_checker_errors", max_checker_errors, "checker_errors: share of samples above this",
      Range{0, 1});
    v("stop_on", stop_on, "names of alarms that end the run with exit code 1, after a checkpoint");
  }
};

// What a step showed.
struct StepHealth {
  double zero_std_share = 0;
  double entropy = 0;
  double truncated_share = 0;
  double checker_error_share = 0;
  double grad_norm = 0;
  double logp_difference_max = 0;
  // Whether the weights after this step can be trusted.
  bool sound() const { return std::isfinite(grad_norm) && logp_difference_max == 0; }
};

struct Alarm {
  std::string name;
  std::string message;  // condition, value, what to try
  bool stop = false;
};

// Counts steps in a row; not thread safe.
class Alarms {
 public:
  // Throws Error(kUsage) when stop_on has an unknown name (naming the nearest).
  explicit Alarms(const AlarmConfig& config);
  // The alarms that begin at this step. A lasting condition rings once, and again only after it
  // went away.
  std::vector<Alarm> check(const StepHealth& health);
  // For checkpoints.
  Json state() const;
  void restore(const Json& state);

 private:
  bool lasting(const std::string& name, bool condition);
  AlarmConfig config_;
  std::map<std::string, int64_t> in_a_row_;
};

}  // namespace zeroth

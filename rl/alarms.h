// Named conditions under which a run is probably wasting its time, or is broken.
//
//   all_groups_equal   no group had two different rewards, `patience` steps in a row
//   entropy_collapse   mean token entropy below min_entropy, `patience` steps in a row
//   mostly_truncated   more than max_truncated of the completions hit the length limit, as long
//   reward_collapse    mean reward of `patience` steps far below the best such mean so far
//   gradient_spike     gradient norm above max_gradient_spike times the recent median
//   kl_high            KL to the reference policy above max_kl nats a token
//   checker_errors     more than max_checker_errors of the rewards of `patience` steps could not be
//                      computed; one bad step alone rings only when none was good before
//   dead_run           no update for trainer.patience steps in a row. Always stops the run.
//   gradient_nan       a gradient was not finite; the update was not made. Always stops the run.
//   logp_mismatch      training and sampling disagree about a log-probability. Always stops the run.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

struct AlarmConfig {
  int patience = 5;
  int64_t repeat = 50;
  double min_entropy = 0.005;
  double max_truncated = 0.5;
  double max_reward_drop = 0.5;
  double max_gradient_spike = 30;
  double max_kl = 1;
  double max_checker_errors = 0.05;
  std::vector<std::string> stop_on = {"checker_errors"};
  template <class V>
  void fields(V& v) {
    v("patience", patience, "steps in a row before a lasting condition is an alarm", Range{1, 1e9});
    v("repeat", repeat, "steps after which an alarm that lasts rings again; 0 = never",
      Range{0, 1e9});
    v("min_entropy", min_entropy, "entropy_collapse: mean entropy in nats below this",
      Range{0, 100});
    v("max_truncated", max_truncated, "mostly_truncated: share of completions above this",
      Range{0, 1});
    v("max_reward_drop", max_reward_drop,
      "reward_collapse: fall of the mean reward by more than this share of its best value, and by "
      "more than the rewards' own spread; 0 = off",
      Range{0, 1e9});
    v("max_gradient_spike", max_gradient_spike,
      "gradient_spike: norm above so many times the median of the last 50 steps; 0 = off",
      Range{0, 1e9});
    v("max_kl", max_kl, "kl_high: KL to the reference in nats a token above this; 0 = off",
      Range{0, 1e9});
    v("max_checker_errors", max_checker_errors,
      "checker_errors: share of samples that could not be graded above this", Range{0, 1});
    v("stop_on", stop_on, "names of alarms that end the run with exit code 1, after a checkpoint");
  }
};

// What a step showed.
struct StepHealth {
  double zero_std_share = 0;
  double entropy = 0;
  double truncated_share = 0;
  double reward = 0, reward_deviation = 0;  // over the samples of the step
  double solve_rate = 0, masked_share = 0;
  double kl = 0;  // nats a token; 0 without a reference
  int64_t samples = 0, checker_errors = 0;
  std::string checker_detail;  // of the commonest fault
  int updates = 1;             // optimizer updates made
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
  // `dead_after`: trainer.patience; 0 = never. Throws Error(kUsage) when stop_on has an unknown
  // name (naming the nearest).
  explicit Alarms(const AlarmConfig& config, int64_t dead_after = 0);
  // The alarms that begin or repeat at this step.
  std::vector<Alarm> check(const StepHealth& health);
  // For checkpoints.
  Json state() const;
  // Takes the state of older versions too.
  void restore(const Json& state);

 private:
  // Whether a condition that holds now rings: when it has lasted for `patience` steps, and again
  // every `repeat` steps.
  bool rings(const std::string& name, bool condition, int64_t patience);
  bool lasts(const std::string& name, bool condition);  // by config.patience
  std::string for_steps(const std::string& name) const;
  // `always`: it stops the run whatever config.stop_on says.
  using Ring =
      std::function<void(const std::string& name, const std::string& message, bool always)>;
  void check_samples(const StepHealth& health, const Ring& ring);
  void check_learning(const StepHealth& health, const Ring& ring);
  void check_grading(const StepHealth& health, const Ring& ring);
  void check_soundness(const StepHealth& health, const Ring& ring);
  bool reward_collapsed(const StepHealth& health);
  bool gradient_spiked(const StepHealth& health);
  bool checker_fails(const StepHealth& health);

  AlarmConfig config_;
  int64_t dead_after_;
  std::map<std::string, int64_t> in_a_row_;
  // Of the last steps, newest last.
  std::deque<double> rewards_, deviations_, norms_, samples_, errors_;
  double best_reward_ = 0, best_deviation_ = 0;  // of a whole window
  bool best_known_ = false, graded_well_ = false;
};

}  // namespace zeroth

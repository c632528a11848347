// The progress line of a run on stderr: a bar that updates itself on a terminal, one line per step
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace zeroth {

struct StepProgress {
  std::string run;          // its name, among several that one process makes; empty: the only one
  int64_t step = 0;         // finished
  int64_t total_steps = 0;  // 0: unknown, no bar and no ETA
  double reward = 0;
  double solve_rate = 0;  // share of samples with a correct answer
  double length = 0;      // mean completion length in tokens
  double entropy = 0;     // mean per token, nats
  double zero_std = 0;    // share of groups whose rewards are all equal
  double tokens = 0;      // tokens that this step processed
  double tokens_per_s = 0;
  double mfu = -1;        // share of the machine's measured peak; negative: unknown
  double staleness = -1;  // mean, of the step's tokens; negative: sampling is not ahead
  double workers = -1;    // that draw samples; negative: this process does
};

class ProgressLine {
 public:
  // Writes to `fd`; a terminal gets an updating bar. `enabled` false prints nothing.
  ProgressLine(int fd, bool enabled);
  ~ProgressLine();
  void show(const StepProgress& step);
  // Ends an updating bar's line, so that other text can follow.
  void end_line();

 private:
  double eta_seconds(const StepProgress& step) const;

  int fd_;
  bool enabled_;
  bool terminal_;
  bool color_;
  bool open_ = false;
  // Exponential means over recent steps; completions grow during training, so the ETA counts
  // tokens, not steps.
  double tokens_per_step_ = 0;
  double tokens_per_second_ = 0;
  std::chrono::steady_clock::time_point last_;
};

// The line without colour, bar `bar_width` characters wide (0: none), drawn with block characters
// when `unicode`.
std::string progress_text(const StepProgress& step, double eta_seconds, int bar_width,
                          bool unicode);

// "2h03m", "4m10s", "12s".
std::string short_duration(double seconds);

}  // namespace zeroth

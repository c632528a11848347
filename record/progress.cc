#include "record/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/terminal.h"

namespace zeroth {
namespace {

constexpr double kSmoothing = 0.2;

std::string format(const char* pattern, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, pattern, value);
  return buffer;
}

std::string bar(double share, int width, bool unicode) {
  share = std::clamp(share, 0.0, 1.0);
  std::string out;
  if (!unicode) {
    const int full = static_cast<int>(std::lround(share * width));
    return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
  }
  static const char* const kEighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(share * width * 8));
  for (int i = 0; i < width; ++i) {
    const int filled = std::clamp(eighths - 8 * i, 0, 8);
    out += filled == 8 ? "█" : filled == 0 ? "░" : kEighths[filled];
  }
  return out;
}

std::string rate(double tokens_per_s) {
  return tokens_per_s >= 1000 ? format("%.1fk tok/s", tokens_per_s / 1000)
                              : format("%.0f tok/s", tokens_per_s);
}

}  // namespace

std::string short_duration(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  char buffer[48];
  if (s >= 3600) {
    std::snprintf(buffer, sizeof buffer, "%lldh%02lldm", static_cast<long long>(s / 3600),
                  static_cast<long long>(s / 60 % 60));
  } else if (s >= 60) {
    std::snprintf(buffer, sizeof buffer, "%lldm%02llds", static_cast<long long>(s / 60),
                  static_cast<long long>(s % 60));
  } else {
    std::snprintf(buffer, sizeof buffer, "%llds", static_cast<long long>(s));
  }
  return buffer;
}

std::string progress_text(const StepProgress& step, double eta_seconds, int bar_width,
                          bool unicode) {
  std::string out = "step " + std::to_string(step.step);
  if (step.total_steps > 0) {
    const std::string total = std::to_string(step.total_steps);
    const size_t width = std::to_string(step.step).size();
    out = "step " + std::string(total.size() > width ? total.size() - width : 0, ' ') +
          std::to_string(step.step) + "/" + total;
    if (bar_width > 0) {
      out += " " + bar(static_cast<double>(step.step) / static_cast<double>(step.total_steps),
                       bar_width, unicode);
    }
  }
  if (!step.run.empty()) out = step.run + "  " + out;
  out += format("  reward %.3f", step.reward) + format("  solved %3.0f%%", 100 * step.solve_rate) +
         format("  len %.0f", step.length) + format("  entropy %.2f", step.entropy) +
         format("  zero-std %.0f%%", 100 * step.zero_std) + "  " + rate(step.tokens_per_s);
  if (step.mfu >= 0) out += format("  mfu %.0f%%", 100 * step.mfu);
  if (step.staleness >= 0) out += format("  stale %.1f", step.staleness);
  if (step.workers >= 0) out += format("  workers %.0f", step.workers);
  if (eta_seconds >= 0) out += "  eta " + short_duration(eta_seconds);
  return out;
}

ProgressLine::ProgressLine(int fd, bool enabled)
    : fd_(fd),
      enabled_(enabled),
      terminal_(::isatty(fd) != 0),
      color_(wants_color(fd)),
      last_(std::chrono::steady_clock::now()) {}

ProgressLine::~ProgressLine() { end_line(); }

double ProgressLine::eta_seconds(const StepProgress& step) const {
  if (step.total_steps <= 0 || tokens_per_second_ <= 0) return -1;
  const auto left = static_cast<double>(std::max<int64_t>(0, step.total_steps - step.step));
  return left * tokens_per_step_ / tokens_per_second_;
}

void ProgressLine::show(const StepProgress& step) {
  if (!enabled_) return;
  const auto now = std::chrono::steady_clock::now();
  // Wall time between lines, so that checkpoints and evaluations count too.
  const double elapsed = std::chrono::duration<double>(now - last_).count();
  last_ = now;
  if (step.tokens > 0 && elapsed > 0) {
    const double speed = step.tokens / elapsed;
    const bool first = tokens_per_second_ == 0;
    tokens_per_second_ += (first ? 1.0 : kSmoothing) * (speed - tokens_per_second_);
    tokens_per_step_ += (first ? 1.0 : kSmoothing) * (step.tokens - tokens_per_step_);
  }
  std::string text = progress_text(step, eta_seconds(step), terminal_ ? 20 : 10, terminal_);
  if (terminal_) {
    text = printable_line(text, static_cast<size_t>(terminal_width(fd_, 120)));
    if (color_) text = "\x1b[36m" + text + "\x1b[0m";
    text = "\r" + text + "\x1b[K";
    open_ = true;
  } else {
    text += "\n";
  }
  // A closed stderr must not stop training.
  [[maybe_unused]] const ssize_t written = ::write(fd_, text.data(), text.size());
}

void ProgressLine::end_line() {
  if (!open_) return;
  open_ = false;
  [[maybe_unused]] const ssize_t written = ::write(fd_, "\n", 1);
}

}  // namespace zeroth

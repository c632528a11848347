#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace zeroth {
namespace {

std::atomic<bool> stop_requested{false};
std::atomic<int> first_signal{0};
std::atomic<const char*> intention{"ending"};
std::atomic<int64_t> finished_steps{-1}, saved_steps{-1};
std::atomic<pid_t> owner{0};
// A signal handler may not wait.
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free &&
              std::atomic<const char*>::is_always_lock_free);

const char* name_of(int signal) {
  switch (signal) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGHUP:
      return "SIGHUP";
    default:
      return "SIGUSR1";
  }
}

// A line put together from what a signal handler may use.
class Line {
 public:
  Line& operator<<(const char* text) {
    for (; *text != 0 && size_ < sizeof bytes_; ++text) bytes_[size_++] = *text;
    return *this;
  }
  Line& operator<<(int64_t number) {
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = 0;
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
    return *this << digits + at;
  }
  // A standard error that is gone must not stop us.
  void print() const { [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, bytes_, size_); }

 private:
  char bytes_[400];
  size_t size_ = 0;
};

void on_interrupt(int signal) {
  if (::getpid() != owner) return;  // a worker that was forked; its parent decides
  Line line;
  line << "\nzeroth: " << name_of(signal) << ": ";
  if (!stop_requested) {
    first_signal = signal;
    stop_requested = true;
    line << intention << " (once more ends at once)\n";
    line.print();
    return;
  }
  const int64_t finished = finished_steps, saved = saved_steps;
  line << "ended at once";
  if (finished > saved && saved >= 0) {
    line << "; lost: steps " << saved + 1 << " to " << finished
         << " since the last checkpoint; resume runs them again";
  } else if (finished >= 0) {
    line << "; nothing is lost, the last checkpoint is of step " << finished;
  }
  line << "\n";
  line.print();
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

void handle(int signal) {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

const std::atomic<bool>& stop_on_interrupt(const char* what) {
  intention = what;
  if (owner == ::getpid()) return stop_requested;
  owner = ::getpid();
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) handle(signal);
  struct sigaction old {};
  ::sigaction(SIGHUP, nullptr, &old);
  if (old.sa_handler != SIG_IGN) handle(SIGHUP);
  return stop_requested;
}

const std::atomic<bool>& save_on_interrupt() {
  // A handler, not SIG_IGN: programs that are started from here must get the default back.
  struct sigaction action {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGPIPE, &action, nullptr);
  return stop_on_interrupt("saving a checkpoint, then ending");
}

void note_progress(int64_t finished, int64_t saved) {
  finished_steps = finished;
  saved_steps = saved;
}

void end_interrupted(const std::string& text) {
  if (!text.empty()) std::fprintf(stderr, "%s\n", text.c_str());
  std::fflush(nullptr);
  ::_exit(interrupt_exit_code());
}

std::string interrupt_name() { return first_signal == 0 ? "" : name_of(first_signal); }

int interrupt_exit_code() { return first_signal == 0 ? 0 : 128 + first_signal; }

}  // namespace zeroth

// Signals as a flag that long work looks at.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace zeroth {

// From now on the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 prints one line that ends in `what` and
// sets the flag that is returned, so that work ends at a clean point; a second one says what is
// lost and ends the process at once. A SIGHUP that was ignored at the start (nohup) stays ignored.
// `what` must live as long as the process.
const std::atomic<bool>& stop_on_interrupt(const char* what = "ending");

// The same for runs that are worth saving: a closed pipe (`| tee` that Ctrl-C ended) gives errors
// to those who write and ends nothing.
const std::atomic<bool>& save_on_interrupt();

// For the second signal: `finished` steps are done, the newest checkpoint is of step `saved`.
void note_progress(int64_t finished, int64_t saved);

// Prints `text` on standard error unless it is empty, and ends the process with
// interrupt_exit_code(), whatever threads are still waiting for a grader that was given up.
[[noreturn]] void end_interrupted(const std::string& text);

// "SIGTERM" and so on, of the first signal; empty when none came.
std::string interrupt_name();

// 128 + the signal that came (SIGINT 130, SIGTERM 143, SIGHUP 129, SIGUSR1 138), or 0.
int interrupt_exit_code();

}  // namespace zeroth

#include "rewards/sandbox/patience.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>

#include "rewards/sandbox/process_tree.h"

namespace zeroth::sandbox_detail {
namespace {

constexpr size_t kMostThreads = 32;

// Nanoseconds that children of this process ran who ended and were waited for: fields 16 and 17 of
// /proc/PID/stat, in clock ticks.
int64_t reaped_by(pid_t process) {
  static const int64_t tick = 1000000000 / ::sysconf(_SC_CLK_TCK);
  const std::string stat = proc_text("/proc/" + std::to_string(process) + "/stat");
  size_t at = stat.rfind(')');  // the name may hold anything
  for (int field = 2; field < 16 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return 0;
  char* end = nullptr;
  const int64_t user = std::strtoll(stat.c_str() + at, &end, 10);
  return (user + std::strtoll(end, nullptr, 10)) * tick;
}

TreeTimes times_of_tree(pid_t init) {
  TreeTimes times;
  const auto all = tree_threads(init, kMostThreads + 1);
  if (all.size() > kMostThreads) return times;  // too many to look at: none waited
  times.reaped = reaped_by(init);
  pid_t process = 0;
  for (const TreeThread& one : all) {
    if (one.process != process) times.reaped += reaped_by(one.process);
    process = one.process;
    const std::string stat = proc_text("/proc/" + std::to_string(one.process) + "/task/" +
                                       std::to_string(one.thread) + "/schedstat");
    char* end = nullptr;
    TreeTimes::Times& thread = times.threads[one.thread];
    thread.ran = std::strtoll(stat.c_str(), &end, 10);
    thread.waited = std::strtoll(end, nullptr, 10);
  }
  return times;
}

}  // namespace

int64_t kept_waiting(const TreeTimes& before, const TreeTimes& after) {
  if (before.threads.size() != after.threads.size()) return 0;
  int64_t ran = after.reaped - before.reaped;
  for (const auto& [thread, now] : after.threads) {
    const auto then = before.threads.find(thread);
    if (then == before.threads.end()) return 0;
    ran += now.ran - then->second.ran;
  }
  int64_t most = 0;
  for (const auto& [thread, now] : after.threads) {
    const TreeTimes::Times& then = before.threads.at(thread);
    const int64_t others_ran = ran - (now.ran - then.ran);
    most = std::max(most, now.waited - then.waited - others_ran);
  }
  return most;
}

int64_t ran_between(const TreeTimes& before, const TreeTimes& after) {
  if (before.threads.empty() || after.threads.empty()) return std::numeric_limits<int64_t>::max();
  int64_t ran = after.reaped - before.reaped;
  for (const auto& [thread, now] : after.threads) {
    const auto then = before.threads.find(thread);
    ran += now.ran - (then == before.threads.end() ? 0 : then->second.ran);
  }
  return ran;
}

Patience::Patience(pid_t init) : init_(init), when_(Clock::now()), last_(times_of_tree(init)) {}

double Patience::look() {
  const auto now = Clock::now();
  TreeTimes times = times_of_tree(init_);
  between_ = std::chrono::duration<double>(now - when_).count();
  ran_ = static_cast<double>(ran_between(last_, times)) * 1e-9;
  waited_ += std::min(static_cast<double>(kept_waiting(last_, times)) * 1e-9, between_);
  last_ = std::move(times);
  when_ = now;
  return waited_;
}

}  // namespace zeroth::sandbox_detail

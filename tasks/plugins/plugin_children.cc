#include "tasks/plugins/plugin_children.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include "core/system.h"

namespace zeroth {
namespace {

constexpr char kVariable[] = "ZEROTH_PLUGIN=";

// Waits for the end of the process that holds the other end of the pipe.
[[noreturn]] void keep(int pipe, const char* mark) {
  ::setsid();
  system::set_process_name("zeroth-keeper");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_IGN);
  ::dup2(pipe, 0);
  system::close_from(3);
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, 1);
  ::dup2(null, 2);
  char byte = 0;
  while (::read(0, &byte, 1) < 0 && errno == EINTR) {
  }
  kill_marked(mark);
  ::_exit(0);
}

// The mark that all workers of this process share; starts the keeper.
const std::string& process_mark() {
  static const std::string mark = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    std::string text = kVariable + std::to_string(::getpid()) + "-" + std::to_string(now) + ".";
    int ends[2];
    if (!system::open_pipe(ends)) return text;
    const pid_t pid = ::fork();
    if (pid == 0) keep(ends[0], text.c_str());
    ::close(ends[0]);
    if (pid < 0) ::close(ends[1]);  // else it stays open until this process ends
    return text;
  }();
  return mark;
}

}  // namespace

std::string new_worker_mark() {
  static std::atomic<int64_t> next{0};
  return process_mark() + std::to_string(next++) + ";";
}

void kill_marked(const char* mark) {
  // What was started while the walk went on is met by the next one.
  for (int i = 0; i < 20 && system::kill_by_variable(mark); ++i) {
  }
}

}  // namespace zeroth

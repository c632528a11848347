// What a plug-in started is found by its mark whenever one looks.
#include "tasks/plugins/plugin_children.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "core/files.h"
#include "tests/tasks/plugin_support.h"

using namespace zeroth;

namespace {

// A program that replaces itself by itself again and again, so that most looks meet it amid exec.
pid_t start_again_and_again(const std::string& script, std::string mark) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::putenv(mark.data());
    ::execl("/bin/sh", "sh", script.c_str(), nullptr);
    ::_exit(127);
  }
  return pid;
}

bool reaped_within(pid_t pid, std::chrono::seconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < until) {
    if (::waitpid(pid, nullptr, WNOHANG) == pid) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

}  // namespace

TEST_CASE("plug-in: a child amid exec has no variables for a moment, and is killed all the same") {
  const Folder folder;
  const std::string script = (folder.path / "again.sh").string();
  write_file_atomic(script, "exec /bin/sh " + script + "\n");
  constexpr int kTries = 40;
  for (int i = 0; i < kTries; ++i) {
    CAPTURE(i);
    const std::string mark = new_worker_mark();
    const pid_t pid = start_again_and_again(script, mark);
    REQUIRE(pid > 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + i % 7));
    kill_marked(mark.c_str());
    // One that was missed would go on for ever.
    const bool killed = reaped_within(pid, std::chrono::seconds(20));
    if (!killed) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    REQUIRE(killed);
  }
}

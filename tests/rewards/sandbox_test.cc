#include "rewards/sandbox/sandbox.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "rewards/sandbox/cgroup.h"
#include "rewards/sandbox/patience.h"
#include "rewards/sandbox/sandbox_pool.h"

using namespace zeroth;

namespace {

bool refused_here() {
  if (probe_sandbox().sufficient()) return false;
  MESSAGE("programs are refused on this machine:\n" << probe_sandbox().text());
  return true;
}

SandboxJob python(const std::string& program, double seconds = 20) {
  SandboxJob job;
  job.argv = {probe_sandbox().python, "-I", "-S", "-c", program};
  job.limits.wall_seconds = seconds;
  return job;
}

bool fine(const SandboxResult& result) {
  return result.status == SandboxResult::Status::kExited && result.exit_code == 0 &&
         result.error.empty();
}

int count_fine(const std::vector<SandboxResult>& results) {
  int count = 0;
  for (const SandboxResult& result : results) {
    if (fine(result))
      ++count;
    else
      MESSAGE("code " << result.exit_code << ", signal " << result.signal << ": " << result.error
                      << result.err.substr(0, 300));
  }
  return count;
}

}  // namespace

// The limits are the default ones on purpose: those of the probe, whose control group was handed on
// to every worker once.
TEST_CASE("sandbox: neighbours do not use up a program's memory") {
  if (refused_here()) return;
  SandboxPool pool(2);
  const std::string program =
      "import time\n"
      "x = bytearray(300 << 20)\n"
      "for i in range(0, len(x), 4096): x[i] = 1\n"
      "time.sleep(.5)\n";
  CHECK(count_fine(pool.run(std::vector<SandboxJob>(6, python(program)))) == 6);
}

TEST_CASE("sandbox: neighbours do not use up a program's processes") {
  if (refused_here()) return;
  SandboxPool pool(2);
  std::vector<SandboxJob> jobs(13, python("import subprocess, threading\n"
                                          "subprocess.run(['/bin/true'], check=True)\n"
                                          "t = threading.Thread(target=int)\n"
                                          "t.start()\n"
                                          "t.join()\n"));
  jobs[0] = python(
      "import os, time\n"
      "try:\n"
      "    while True:\n"
      "        if os.fork() == 0: break\n"
      "except OSError: pass\n"
      "time.sleep(3)\n");
  CHECK(count_fine(pool.run(jobs)) == 13);
}

TEST_CASE("sandbox: as many workers as a big machine has cores") {
  if (refused_here()) return;
  SandboxPool pool(40);
  const SandboxJob job = python("import time\ntime.sleep(.5)\n");
  CHECK(count_fine(pool.run(std::vector<SandboxJob>(80, job))) == 80);
}

TEST_CASE("sandbox: limits may change from job to job") {
  if (refused_here()) return;
  SandboxPool pool(1);
  std::vector<SandboxJob> jobs;
  for (const int megabytes : {128, 256, 64, 512, 100}) {
    jobs.push_back(python("x = bytearray(" + std::to_string(megabytes / 2) + " << 20)\n"));
    jobs.back().limits.memory_bytes = int64_t{megabytes} << 20;
  }
  CHECK(count_fine(pool.run(jobs)) == 5);
}

TEST_CASE("sandbox: a program sees the folders that it needs and those it is given") {
  if (refused_here()) return;
  SandboxPool pool(1);
  const std::string look =
      "import os, sys\n"
      "sys.stdout.write(' '.join(sorted(os.listdir('/usr'))) + '|' + "
      "' '.join(sorted(os.listdir('/usr/share'))) + '|' + str(os.path.exists('/usr/include')))\n";
  SandboxJob given = python(look);
  given.folders = {"/usr/share/doc", "/usr/share/no_such_folder"};
  SandboxJob compiler = python(look);
  compiler.compile = true;
  SandboxJob bad = python(look);
  bad.folders = {"/usr/share/../../etc"};
  const auto results = pool.run({python(look), given, compiler, bad});
  for (int i = 0; i < 3; ++i) REQUIRE(fine(results[i]));
  CHECK(results[0].out.find("src") == std::string::npos);
  CHECK(results[0].out.find("doc") == std::string::npos);
  CHECK(results[1].out.find("doc") != std::string::npos);
  CHECK(results[1].out.find("no_such_folder") == std::string::npos);
  CHECK(results[0].out.find("False") != std::string::npos);
  CHECK(results[2].out.find("True") != std::string::npos);
  CHECK(results[3].status == SandboxResult::Status::kInfrastructure);
  CHECK(results[3].error.find("/usr/share/../../etc") != std::string::npos);
}

TEST_CASE("sandbox: a program that could not be started is no verdict") {
  if (refused_here()) return;
  SandboxPool pool(1);
  SandboxJob job = python("");
  job.argv[0] = "/usr/bin/no_such_program";
  const SandboxResult result = pool.run({job})[0];
  CHECK(result.status == SandboxResult::Status::kInfrastructure);
  CHECK(result.error.find("start the program") != std::string::npos);
  job = python("");
  job.files = {{"a/b", "x"}};
  CHECK(pool.run({job})[0].error.find("create an input file") != std::string::npos);
  CHECK(fine(pool.run({python("")})[0]));
}

TEST_CASE("sandbox: processes that share memory are counted once") {
  if (refused_here()) return;
  SandboxPool pool(1);
  SandboxJob job = python(
      "import os, time\n"
      "x = bytearray(150 << 20)\n"
      "children = []\n"
      "for i in range(6):\n"
      "    pid = os.fork()\n"
      "    if pid == 0:\n"
      "        time.sleep(.4)\n"
      "        os._exit(0)\n"
      "    children.append(pid)\n"
      "for pid in children: assert os.waitpid(pid, 0)[1] == 0\n");
  job.limits.memory_bytes = 300 << 20;
  CHECK(count_fine(pool.run({job})) == 1);
}

TEST_CASE("sandbox: only waiting that others caused moves a deadline") {
  using sandbox_detail::kept_waiting;
  using sandbox_detail::TreeTimes;
  const auto tree = [](std::map<pid_t, TreeTimes::Times> threads, int64_t reaped = 0) {
    return TreeTimes{std::move(threads), reaped};
  };
  const TreeTimes none = tree({{1, {0, 0}}, {2, {0, 0}}});
  // One thread, alone and kept waiting.
  CHECK(kept_waiting(tree({{1, {5, 7}}}), tree({{1, {15, 7}}})) == 0);
  CHECK(kept_waiting(tree({{1, {5, 7}}}), tree({{1, {15, 37}}})) == 30);
  // The second thread had the core that the first one waited for.
  CHECK(kept_waiting(none, tree({{1, {0, 40}}, {2, {40, 0}}})) == 0);
  // It had it for a part of the time.
  CHECK(kept_waiting(none, tree({{1, {0, 40}}, {2, {10, 30}}})) == 30);
  // Both wait for others: the time counts once.
  CHECK(kept_waiting(none, tree({{1, {0, 40}}, {2, {0, 40}}})) == 40);
  // A child that has ended had it.
  CHECK(kept_waiting(tree({{1, {0, 0}}}), tree({{1, {0, 40}}}, 35)) == 5);
  // Who came or went may have had it.
  CHECK(kept_waiting(none, tree({{1, {0, 40}}})) == 0);
  CHECK(kept_waiting(none, tree({{1, {0, 40}}, {3, {0, 0}}})) == 0);
  // Too many threads to look at.
  CHECK(kept_waiting(tree({}), tree({})) == 0);
}

TEST_CASE("sandbox: what a program ran is no time for which its worker was stopped") {
  using sandbox_detail::ran_between;
  using sandbox_detail::TreeTimes;
  const TreeTimes before{{{1, {5, 7}}, {2, {10, 0}}}, 3};
  CHECK(ran_between(before, before) == 0);
  CHECK(ran_between(before, {{{1, {15, 9}}, {2, {40, 0}}}, 3}) == 40);
  // A thread that has come, and a child that has ended.
  CHECK(ran_between(before, {{{1, {5, 7}}, {2, {10, 0}}, {3, {4, 1}}}, 9}) == 10);
  // Too many threads to look at: they may have run all the time.
  CHECK(ran_between(before, {}) > int64_t{1} << 60);
  CHECK(ran_between({}, before) > int64_t{1} << 60);
}

TEST_CASE("sandbox: groups of processes that were killed are removed") {
  if (Cgroup::available().empty()) {
    MESSAGE("no control group can be made here");
    return;
  }
  // Folders of other programs vanish while this looks; what could not be entered is passed over.
  const auto groups_of = [](pid_t pid) {
    int found = 0;
    const std::string begin = "zeroth-" + std::to_string(pid) + "-";
    std::vector<std::filesystem::path> open{"/sys/fs/cgroup"};
    while (!open.empty()) {
      std::error_code error;
      std::filesystem::directory_iterator at(open.back(), error), end;
      open.pop_back();
      for (; !error && at != end; at.increment(error)) {
        std::error_code unread;
        if (at->is_symlink(unread) || !at->is_directory(unread)) continue;
        found += at->path().filename().string().rfind(begin, 0) == 0;
        open.push_back(at->path());
      }
    }
    return found;
  };
  // A process that holds a group until it is killed. Pools of other programs on this machine remove
  // the groups of dead processes too, so a group is only sure to be there while its maker lives.
  const auto hold_one = [] {
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      new Cgroup();
      const bool told = ::write(ready[1], "r", 1) == 1;
      while (told) ::pause();
      ::_exit(1);
    }
    char told = 0;
    ::close(ready[1]);
    CHECK(::read(ready[0], &told, 1) == 1);
    ::close(ready[0]);
    return pid;
  };
  const auto kill_one = [](pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  };
  const Cgroup own;
  const pid_t first = hold_one(), second = hold_one();
  CHECK(groups_of(first) > 0);
  kill_one(first);
  Cgroup::remove_of(first);
  CHECK(groups_of(first) == 0);
  Cgroup::remove_stale();
  CHECK(groups_of(second) > 0);
  kill_one(second);
  Cgroup::remove_stale();
  CHECK(groups_of(second) == 0);
  CHECK(groups_of(::getpid()) > 0);
}

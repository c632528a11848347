#include "rewards/sandbox/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "core/error.h"
#include "rewards/sandbox/cgroup.h"
#include "rewards/sandbox/collector.h"
#include "rewards/sandbox/pipe.h"
#include "rewards/sandbox/process_tree.h"
#include "rewards/sandbox/sandbox_child.h"

namespace zeroth {
namespace {

using sandbox_detail::ChildPlan;
using sandbox_detail::Collector;
using sandbox_detail::JobPipes;
using sandbox_detail::Pipe;
using sandbox_detail::plan_root;
using sandbox_detail::RootPlan;
using Clock = std::chrono::steady_clock;

// Where user namespaces map only some users, "nobody" is one of them.
constexpr unsigned kNobody = 65534;
// From clone to exec: a mount takes long on a busy machine. Longer is no fault of the program.
constexpr int kSetUpMilliseconds = 60000;

bool write_map(pid_t pid, const char* file, const std::string& text) {
  const int fd =
      ::open(("/proc/" + std::to_string(pid) + "/" + file).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

// Root maps an unprivileged outer user, another for each seat: the kernel counts pipes, pending
// signals and more by user, and neighbours must not use up what a program may have. The range is
// that of systemd's dynamic users, which own no files. Anybody else maps themself.
bool map_ids(pid_t pid) {
  constexpr unsigned kFirst = 61184, kUsers = 65520 - kFirst;
  const auto map = [pid](unsigned user, unsigned group) {
    const auto line = [](unsigned outer) {
      return std::to_string(sandbox_detail::kInnerId) + " " + std::to_string(outer) + " 1";
    };
    return write_map(pid, "uid_map", line(user)) && write_map(pid, "gid_map", line(group));
  };
  if (::geteuid() != 0) return write_map(pid, "setgroups", "deny") && map(::geteuid(), ::getegid());
  const unsigned user = kFirst + static_cast<unsigned>(::getpid()) % kUsers;
  return map(user, user) || map(kNobody, kNobody);
}

// With the text of errno.
SandboxResult infrastructure(const char* what) {
  SandboxResult result;
  result.error = std::string(what) + std::strerror(errno);
  return result;
}

uint64_t most_cpu_seconds(const SandboxLimits& limits) {
  const double cores = std::max(1u, std::thread::hardware_concurrency());
  const double seconds = std::max(limits.wall_seconds + limits.start_seconds, limits.total_seconds);
  return static_cast<uint64_t>((seconds + 2) * std::max(kMostPatience, 2 * cores));
}

// Writing to a child that has closed its input must be an error code, not a signal.
struct IgnorePipeSignal {
  IgnorePipeSignal() { ::signal(SIGPIPE, SIG_IGN); }
};

}  // namespace

SandboxSeat::SandboxSeat(int lifeline) : lifeline_(lifeline) {}
SandboxSeat::~SandboxSeat() = default;

Cgroup& SandboxSeat::group_for(const SandboxLimits& limits) {
  if (!group_) group_ = std::make_unique<Cgroup>();
  if (group_->set_limits(limits.memory_bytes, limits.processes)) return *group_;
  group_.reset();
  group_ = std::make_unique<Cgroup>();
  if (!group_->set_limits(limits.memory_bytes, limits.processes))
    fail("cannot limit the memory and processes of a control group", "is its folder writable?");
  return *group_;
}

SandboxResult SandboxSeat::run(const SandboxJob& job) {
  static const IgnorePipeSignal once;
  (void)once;
  try {
    SandboxResult result = attempt(job);
    return group_ ? result : attempt(job);  // its group was gone
  } catch (const Error& error) {
    SandboxResult result;
    result.error = error.what();
    return result;
  }
}

namespace {

// Ends and reaps pid 1 of the namespace, and with it the whole tree, at the latest when it goes.
class Tree {
 public:
  Tree(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  ~Tree() {
    if (!done_) end();
    wait();
    ::close(pidfd_);
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_; }
  void end() { ::kill(pid_, SIGKILL); }
  int wait() {
    while (!done_ && ::waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    done_ = true;
    return status_;
  }

 private:
  const pid_t pid_;
  const int pidfd_;
  int status_ = 0;
  bool done_ = false;
};

// Until the program has been started, which closes the pipe. False when it was not: why is then in
// the result.
bool wait_for_start(int status_fd, int lifeline, SandboxResult& result) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(kSetUpMilliseconds);
  std::string said;
  for (;;) {
    pollfd fds[2] = {{status_fd, POLLIN, 0}, {lifeline, POLLRDHUP, 0}};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      result.error = "the machine is too busy to set a sandbox up";
      return false;
    }
    if (::poll(fds, 2, static_cast<int>(left)) <= 0) continue;
    if (fds[1].revents != 0) {
      result.error = "who asked for the job has ended";
      return false;
    }
    char text[256];
    const ssize_t n = ::read(status_fd, text, sizeof(text));
    if (n == 0) break;
    if (n > 0) said.append(text, static_cast<size_t>(n));
  }
  if (said == std::string(1, sandbox_detail::kStarting)) return true;
  if (!said.empty() && said[0] == sandbox_detail::kStarting) said.erase(0, 1);
  result.error = "sandbox set-up failed: " + (said.empty() ? "it was killed" : said);
  return false;
}

// Processes that the kernel killed on this machine because memory ran out.
int64_t machine_kills() {
  const std::string stat = sandbox_detail::proc_text("/proc/vmstat");
  const size_t at = stat.find("\noom_kill ");
  return at == std::string::npos ? 0 : std::atoll(stat.c_str() + at + 10);
}

// Tells kills that a program earned from those that it did not. Made just after the limits of
// `group` were set.
class MemoryWitness {
 public:
  explicit MemoryWitness(const Cgroup& group)
      : group_(group), machine_(counted() ? 0 : machine_kills()) {}

  void tell(SandboxResult& result) const {
    const auto [killed, at_limit] = group_.memory_events();
    result.out_of_memory |= killed && at_limit;
    if ((killed && !at_limit) || (!counted() && machine_kills() > machine_))
      result.disturbed = "the kernel killed processes because the machine ran out of memory";
  }

 private:
  bool counted() const { return group_.limits_memory(); }
  const Cgroup& group_;
  const int64_t machine_;
};

}  // namespace

SandboxResult SandboxSeat::attempt(const SandboxJob& job) {
  SandboxResult result;
  const RootPlan root = plan_root(job.compile, job.folders);
  Pipe ready, status;
  JobPipes pipes;
  std::vector<char*> argv;
  for (const std::string& arg : job.argv) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  Cgroup& group = group_for(job.limits);
  ChildPlan plan;
  plan.job = &job;
  plan.root = &root;
  plan.argv = argv.data();
  plan.count_memory = !group.limits_memory();
  plan.limit_processes = !group.limits_processes();
  plan.seccomp = &sandbox_detail::seccomp_program(plan.count_memory);
  plan.ready_fd = ready.read_end();
  plan.status_fd = status.write_end();
  plan.stdin_fd = pipes.in.read_end();
  plan.stdout_fd = pipes.out.write_end();
  plan.stderr_fd = pipes.err.write_end();
  plan.report_fd = pipes.report.write_end();
  plan.drop_groups = ::geteuid() == 0;
  plan.cpu_seconds = most_cpu_seconds(job.limits);

  const MemoryWitness witness(group);
  constexpr unsigned long kFlags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                                   CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | SIGCHLD;
  int pidfd = -1;
  const pid_t pid = static_cast<pid_t>(::syscall(SYS_clone, kFlags, nullptr, &pidfd, nullptr, 0));
  if (pid < 0) return infrastructure("cannot make namespaces: ");
  if (pid == 0) {
    for (const int fd : {ready.write_end(), status.read_end(), pipes.in.write_end(),
                         pipes.out.read_end(), pipes.err.read_end(), pipes.report.read_end()})
      ::close(fd);
    sandbox_detail::run_child(plan);
  }
  Tree tree(pid, pidfd);
  if (!map_ids(pid)) return infrastructure("cannot map the user: ");
  if (!group.add(pid)) {
    const SandboxResult failed = infrastructure("cannot enter the control group: ");
    tree.end();
    tree.wait();
    group_.reset();
    return failed;
  }
  ready.close_write();
  ready.close_read();
  status.close_write();
  pipes.in.close_read();
  pipes.out.close_write();
  pipes.err.close_write();
  pipes.report.close_write();
  if (!wait_for_start(status.read_end(), lifeline_, result)) return result;

  const auto start = Clock::now();
  Collector collector(job, plan.count_memory, lifeline_, pipes, result);
  const bool ended = collector.run(pid, pidfd);
  if (!ended) tree.end();
  const int code = tree.wait();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  witness.tell(result);
  if (!ended) return result;
  result.status = SandboxResult::Status::kExited;
  if (WIFEXITED(code) && WEXITSTATUS(code) < 128)
    result.exit_code = WEXITSTATUS(code);
  else
    result.signal = WIFEXITED(code) ? WEXITSTATUS(code) - 128 : WTERMSIG(code);
  return result;
}

}  // namespace zeroth

#include "rewards/code/sandbox.h"

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
#include <cstring>
#include <memory>

#include "core/error.h"
#include "rewards/code/cgroup.h"
#include "rewards/code/process_tree.h"
#include "rewards/code/sandbox_child.h"

namespace zeroth {
namespace {

using sandbox_detail::ChildPlan;
using sandbox_detail::plan_root;
using sandbox_detail::RootPlan;
using sandbox_detail::tree_memory;
using sandbox_detail::waited_for_core;
using Clock = std::chrono::steady_clock;

constexpr unsigned kNobody = 65534;
constexpr double kLeastGrant = 0.01;  // seconds
// Without a cgroup the tree's memory is looked at so often, and so much is allowed to each process
// for what it shares with its parent.
constexpr int kWatchMilliseconds = 20;
constexpr int64_t kSharedBytes = 8 << 20;

class Pipe {
 public:
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0)
      fail(std::string("cannot make a pipe: ") + std::strerror(errno), "raise ulimit -n");
    read_ = fds[0];
    write_ = fds[1];
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int read_end() const { return read_; }
  int write_end() const { return write_; }
  void close_read() { close_one(read_); }
  void close_write() { close_one(write_); }

 private:
  static void close_one(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
  int read_ = -1, write_ = -1;
};

bool write_map(pid_t pid, const char* file, const std::string& text) {
  const int fd =
      ::open(("/proc/" + std::to_string(pid) + "/" + file).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

// Root maps an unprivileged outer user; anybody else maps themself.
bool map_ids(pid_t pid) {
  const bool root = ::geteuid() == 0;
  const auto line = [](unsigned outer) {
    return std::to_string(sandbox_detail::kInnerId) + " " + std::to_string(outer) + " 1";
  };
  if (!root && !write_map(pid, "setgroups", "deny")) return false;
  return write_map(pid, "uid_map", line(root ? kNobody : ::geteuid())) &&
         write_map(pid, "gid_map", line(root ? kNobody : ::getegid()));
}

// Feeds the input and collects the three streams until all are closed, the clock runs out or one is
// too long.
class Collector {
 public:
  // `watch_memory`: no cgroup bounds the memory of the tree. `lifeline`: see SandboxSeat.
  Collector(const SandboxJob& job, bool watch_memory, int lifeline, Pipe& in, Pipe& out, Pipe& err,
            Pipe& report, SandboxResult& result)
      : job_(job), watch_memory_(watch_memory), lifeline_(lifeline), in_(in), result_(result) {
    streams_[0] = {&out, &result.out};
    streams_[1] = {&err, &result.err};
    streams_[2] = {&report, &result.report};
    ::fcntl(in.write_end(), F_SETFL, O_NONBLOCK);
  }

  // False when the job has to be killed; result.status then says why. `pidfd` is readable once the
  // program has ended: a stray process that holds a stream open must not delay the verdict. Time
  // that the program waits for a core is not its own and moves the deadline, up to kMostPatience
  // limits in all.
  bool run(pid_t init, int pidfd, Clock::time_point deadline) {
    bool ended = false;
    double granted = 0;
    while (!ended || drain_once(0)) {
      if (ended) continue;
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      const double waited = left > 0 ? 0 : waited_for_core(init);
      const double most = job_.limits.wall_seconds * (kMostPatience - 1);
      if (waited > granted + kLeastGrant && granted < most) {
        const double more = std::min(waited, most) - granted;
        granted += more;
        result_.waited_seconds = granted;
        deadline +=
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(more));
        continue;
      }
      if (left <= 0) {
        const double late = std::chrono::duration<double>(Clock::now() - deadline).count();
        result_.starved = late > job_.limits.wall_seconds / 4;  // we were stopped ourselves
        result_.status = SandboxResult::Status::kTimeout;
        return false;
      }
      pollfd fds[6];
      int count = 0;
      fds[count++] = {pidfd, POLLIN, 0};
      fds[count++] = {lifeline_, POLLRDHUP, 0};
      for (Stream& stream : streams_) {
        if (stream.pipe->read_end() >= 0) fds[count++] = {stream.pipe->read_end(), POLLIN, 0};
      }
      if (in_.write_end() >= 0) fds[count++] = {in_.write_end(), POLLOUT, 0};
      const int wait = watch_memory_ ? std::min<int>(static_cast<int>(left), kWatchMilliseconds)
                                     : static_cast<int>(left);
      if (::poll(fds, static_cast<nfds_t>(count), wait) < 0 && errno != EINTR) return true;
      if (fds[1].revents != 0) {
        result_.error = "who asked for the job has ended";
        return false;
      }
      if (watch_memory_ && too_much_memory(init)) {
        result_.status = SandboxResult::Status::kExited;
        result_.signal = SIGKILL;
        result_.out_of_memory = true;
        return false;
      }
      feed();
      drain_once(0);
      if (too_long_) {
        result_.status = SandboxResult::Status::kOutputLimit;
        return false;
      }
      ended = (fds[0].revents & POLLIN) != 0;
    }
    if (too_long_) result_.status = SandboxResult::Status::kOutputLimit;
    return !too_long_;
  }

 private:
  struct Stream {
    Pipe* pipe = nullptr;
    std::string* text = nullptr;
  };

  bool too_much_memory(pid_t init) {
    const auto now = Clock::now();
    if (now < next_look_) return false;
    next_look_ = now + std::chrono::milliseconds(kWatchMilliseconds);
    int processes = 0;
    const int64_t bytes = tree_memory(init, &processes);
    return bytes > job_.limits.memory_bytes + kSharedBytes * processes;
  }

  void feed() {
    if (in_.write_end() < 0) return;
    const ssize_t n = ::write(in_.write_end(), job_.input.data() + fed_, job_.input.size() - fed_);
    if (n > 0) fed_ += static_cast<size_t>(n);
    if (fed_ == job_.input.size() || (n < 0 && errno != EAGAIN && errno != EINTR))
      in_.close_write();
  }

  // Reads what is there now; true when anything came.
  bool drain_once(int timeout_ms) {
    bool any = false;
    for (Stream& stream : streams_) {
      if (stream.pipe->read_end() < 0) continue;
      pollfd fd{stream.pipe->read_end(), POLLIN, 0};
      if (::poll(&fd, 1, timeout_ms) <= 0) continue;
      char buffer[1 << 16];
      const ssize_t n = ::read(fd.fd, buffer, sizeof(buffer));
      if (n < 0) continue;
      if (n == 0) {
        stream.pipe->close_read();
        continue;
      }
      any = true;
      const size_t room = static_cast<size_t>(job_.limits.output_bytes) - stream.text->size();
      stream.text->append(buffer, std::min(room, static_cast<size_t>(n)));
      too_long_ |= static_cast<size_t>(n) > room;
    }
    return any && !too_long_;
  }

  const SandboxJob& job_;
  const bool watch_memory_;
  const int lifeline_;
  Clock::time_point next_look_;
  Pipe& in_;
  SandboxResult& result_;
  Stream streams_[3];
  size_t fed_ = 0;
  bool too_long_ = false;
};

SandboxResult infrastructure(const std::string& error) {
  SandboxResult result;
  result.error = error;
  return result;
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
  const auto start = Clock::now();
  SandboxResult result;
  try {
    result = attempt(job);
    if (!group_) result = attempt(job);  // its group was gone
  } catch (const Error& error) {
    result = infrastructure(error.what());
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

SandboxResult SandboxSeat::attempt(const SandboxJob& job) {
  const auto start = Clock::now();
  SandboxResult result;
  {
    const RootPlan root = plan_root(job.compile, job.folders);
    Pipe ready, status, in, out, err, report;
    std::vector<char*> argv;
    for (const std::string& arg : job.argv) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    ChildPlan plan;
    plan.job = &job;
    plan.root = &root;
    plan.argv = argv.data();
    plan.seccomp = &sandbox_detail::seccomp_program();
    plan.ready_fd = ready.read_end();
    plan.status_fd = status.write_end();
    plan.stdin_fd = in.read_end();
    plan.stdout_fd = out.write_end();
    plan.stderr_fd = err.write_end();
    plan.report_fd = report.write_end();
    plan.drop_groups = ::geteuid() == 0;

    Cgroup& group = group_for(job.limits);
    plan.limit_processes = !group.limits_processes();
    const int64_t kills = group.memory_kills();
    constexpr unsigned long kFlags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
                                     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | SIGCHLD;
    int pidfd = -1;
    const pid_t pid = static_cast<pid_t>(::syscall(SYS_clone, kFlags, nullptr, &pidfd, nullptr, 0));
    if (pid < 0) {
      return infrastructure(std::string("cannot make namespaces: ") + std::strerror(errno));
    }
    if (pid == 0) {
      for (const int fd : {ready.write_end(), status.read_end(), in.write_end(), out.read_end(),
                           err.read_end(), report.read_end()})
        ::close(fd);
      sandbox_detail::run_child(plan);
    }
    struct Reaper {
      pid_t pid;
      int pidfd;
      int status = 0;
      bool done = false;
      int wait() {
        if (!done) {
          while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
          }
          done = true;
        }
        return status;
      }
      ~Reaper() {
        if (!done) ::kill(pid, SIGKILL);
        wait();
        ::close(pidfd);
      }
    } reaper{pid, pidfd};

    const bool mapped = map_ids(pid);
    if (!mapped) return infrastructure(std::string("cannot map the user: ") + std::strerror(errno));
    if (!group.add(pid)) {
      group_.reset();
      return infrastructure("cannot put the program into its control group");
    }
    ready.close_write();
    ready.close_read();
    status.close_write();
    in.close_read();
    out.close_write();
    err.close_write();
    report.close_write();

    Collector collector(job, !group.limits_memory(), lifeline_, in, out, err, report, result);
    const auto deadline = start + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(job.limits.wall_seconds));
    const bool ended = collector.run(pid, pidfd, deadline);
    if (!ended) ::kill(pid, SIGKILL);
    const int code = reaper.wait();
    result.out_of_memory |= group.memory_kills() > kills;
    char text[256];
    const ssize_t said = ::read(status.read_end(), text, sizeof(text));
    if (said > 0) {
      result.status = SandboxResult::Status::kInfrastructure;
      result.error = "sandbox set-up failed: " + std::string(text, static_cast<size_t>(said));
    } else if (ended) {
      result.status = SandboxResult::Status::kExited;
      if (WIFEXITED(code) && WEXITSTATUS(code) < 128)
        result.exit_code = WEXITSTATUS(code);
      else if (WIFEXITED(code))
        result.signal = WEXITSTATUS(code) - 128;
      else
        result.signal = WTERMSIG(code);
    }
  }
  return result;
}

}  // namespace zeroth

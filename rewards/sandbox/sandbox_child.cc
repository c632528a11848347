#include "rewards/sandbox/sandbox_child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace zeroth::sandbox_detail {

void give_up(const ChildPlan& plan, const char* step) {
  char text[200];
  const int n = std::snprintf(text, sizeof(text), "%s: %s", step, std::strerror(errno));
  if (::write(plan.status_fd, text, static_cast<size_t>(n)) < 0) ::_exit(121);
  ::_exit(120);
}

namespace {

void write_files(const ChildPlan& plan) {
  for (const SandboxFile& file : plan.job->files) {
    const int fd =
        ::open(file.name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    check(plan, fd >= 0, "create an input file");
    size_t done = 0;
    while (done < file.content.size()) {
      const ssize_t n = ::write(fd, file.content.data() + done, file.content.size() - done);
      check(plan, n > 0, "write an input file");
      done += static_cast<size_t>(n);
    }
    ::close(fd);
  }
}

void set_limit(const ChildPlan& plan, __rlimit_resource_t resource, rlim_t value) {
  const rlimit limit{value, value};
  check(plan, ::setrlimit(resource, &limit) == 0, "set a resource limit");
}

// When memory runs out the program goes, not who runs it or somebody else. Where this is refused
// nothing is lost that a verdict rests on.
void be_killed_first() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (::write(fd, "1000", 4) < 0) errno = 0;
  ::close(fd);
}

// Standard streams and the report pipe move to 0..3; nothing else stays open.
void place_descriptors(const ChildPlan& plan) {
  const int wanted[4] = {plan.stdin_fd, plan.stdout_fd, plan.stderr_fd, plan.report_fd};
  int high[5];
  for (int i = 0; i < 4; ++i) high[i] = ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 64);
  high[4] = ::fcntl(plan.status_fd, F_DUPFD_CLOEXEC, 64);
  for (int i = 0; i < 4; ++i)
    check(plan, high[i] >= 0 && ::dup2(high[i], i) == i, "place a descriptor");
  check(plan, high[4] >= 0 && ::dup3(high[4], 4, O_CLOEXEC) == 4, "place a descriptor");
  if (::syscall(SYS_close_range, 5u, ~0u, 0u) != 0) {
    for (int fd = 5; fd < 1024; ++fd) ::close(fd);
  }
}

// pid 1 of the namespace: waits for the program, passes its end on, and takes every other process
// with it.
[[noreturn]] void be_init(pid_t program) {
  for (int fd = 0; fd < 5; ++fd) ::close(fd);
  for (;;) {
    int status = 0;
    const pid_t pid = ::wait(&status);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) ::_exit(122);
    if (pid != program) continue;
    // Signals cannot end pid 1 from inside: a code above 128 tells the parent, which knows the
    // program cannot fake more than its own failure.
    ::_exit(WIFEXITED(status) ? (WEXITSTATUS(status) & 127) : 128 + (WTERMSIG(status) & 127));
  }
}

}  // namespace

void run_child(const ChildPlan& plan) {
  char byte;
  while (::read(plan.ready_fd, &byte, 1) < 0 && errno == EINTR) {
  }
  if (plan.drop_groups) check(plan, ::setgroups(0, nullptr) == 0, "drop groups");
  check(plan, ::setresgid(kInnerId, kInnerId, kInnerId) == 0, "change the group");
  check(plan, ::setresuid(kInnerId, kInnerId, kInnerId) == 0, "change the user");
  // A change of users forgets this signal, so it is asked for after that; a parent that ended
  // before has left its pipe without a reader.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd parent{plan.status_fd, 0, 0};
  if (::poll(&parent, 1, 0) > 0 && (parent.revents & POLLERR)) ::_exit(123);
  ::prctl(PR_SET_DUMPABLE, 1);
  be_killed_first();
  check(plan, ::setsid() >= 0, "start a session");
  build_root(plan);
  write_files(plan);
  if (::sethostname("sandbox", 7) != 0) give_up(plan, "set the host name");

  const SandboxLimits& limits = plan.job->limits;
  set_limit(plan, RLIMIT_CORE, 0);
  set_limit(plan, RLIMIT_AS, static_cast<rlim_t>(limits.memory_bytes));
  set_limit(plan, RLIMIT_FSIZE, static_cast<rlim_t>(limits.scratch_bytes));
  set_limit(plan, RLIMIT_NOFILE, static_cast<rlim_t>(limits.open_files));
  // Kernels before 5.14 count all processes of the user for this, those of other jobs too.
  if (plan.limit_processes) set_limit(plan, RLIMIT_NPROC, static_cast<rlim_t>(limits.processes));
  set_limit(plan, RLIMIT_CPU, plan.cpu_seconds);
  set_limit(plan, RLIMIT_SIGPENDING, 256);
  set_limit(plan, RLIMIT_MEMLOCK, 0);
  set_limit(plan, RLIMIT_MSGQUEUE, 0);
  // Who watches the program wakes up before it goes on. Its share of a core stays the same.
  const sched_param no_priority{};
  check(plan, ::sched_setscheduler(0, SCHED_BATCH, &no_priority) == 0, "set the scheduling");
  place_descriptors(plan);

  ChildPlan placed = plan;
  placed.status_fd = 4;
  const pid_t program = ::fork();
  check(placed, program >= 0, "fork the program");
  if (program > 0) be_init(program);

  ::signal(SIGPIPE, SIG_DFL);
  check(placed, ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "set no_new_privs");
  for (int capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  if (plan.seccomp != nullptr) {
    check(placed, ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, plan.seccomp) == 0,
          "install the seccomp filter");
  }
  // exec as a user that is not root of the namespace drops every capability.
  static char* const environment[] = {
      const_cast<char*>("PATH=/usr/bin:/bin"), const_cast<char*>("HOME=/tmp"),
      const_cast<char*>("LANG=C.UTF-8"),       const_cast<char*>("PYTHONHASHSEED=0"),
      const_cast<char*>("PYTHONSAFEPATH=1"),   nullptr};
  check(placed, ::write(placed.status_fd, &kStarting, 1) == 1, "tell that the program starts");
  ::execve(plan.argv[0], plan.argv, environment);
  give_up(placed, "start the program");
}

}  // namespace zeroth::sandbox_detail

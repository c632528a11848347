#include "rewards/code/sandbox_child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace zeroth::sandbox_detail {
namespace {

// Set-up failures are the sandbox's, not the program's: they go to the parent in words.
[[noreturn]] void give_up(const ChildPlan& plan, const char* step) {
  char text[200];
  const int n = std::snprintf(text, sizeof(text), "%s: %s", step, std::strerror(errno));
  if (::write(plan.status_fd, text, static_cast<size_t>(n)) < 0) ::_exit(121);
  ::_exit(120);
}

void check(const ChildPlan& plan, bool good, const char* step) {
  if (!good) give_up(plan, step);
}

bool bind_read_only(const char* from, const char* to) {
  if (::mount(from, to, nullptr, MS_BIND | MS_REC, nullptr) != 0) return false;
  // Flags that the host's mount carries are locked in our namespace and must be repeated.
  struct statvfs info;
  unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (::statvfs(to, &info) == 0) {
    if (info.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
    if (info.f_flag & ST_NOATIME) flags |= MS_NOATIME;
    if (info.f_flag & ST_RELATIME) flags |= MS_RELATIME;
    if (info.f_flag & ST_NODIRATIME) flags |= MS_NODIRATIME;
  }
  return ::mount(nullptr, to, nullptr, flags, nullptr) == 0;
}

// A root of tmpfs with read-only /usr and four harmless devices. Built on /tmp, which then becomes
// /.
void build_root(const ChildPlan& plan) {
  check(plan, ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0,
        "make mounts private");
  check(plan, ::mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID, "size=1m,nr_inodes=64,mode=755") == 0,
        "mount the new root");
  check(plan, ::chdir("/tmp") == 0, "enter the new root");
  check(plan, ::mkdir("usr", 0755) == 0 && bind_read_only("/usr", "usr"), "bind /usr");
  for (const char* name : {"bin", "sbin", "lib", "lib64"}) {
    char from[32], target[32];
    std::snprintf(from, sizeof(from), "/%s", name);
    std::snprintf(target, sizeof(target), "usr/%s", name);
    struct stat info;
    if (::lstat(from, &info) != 0) continue;
    if (S_ISLNK(info.st_mode)) {
      check(plan, ::symlink(target, name) == 0, "link /lib");
    } else {
      check(plan, ::mkdir(name, 0755) == 0 && bind_read_only(from, name), "bind /lib");
    }
  }
  check(plan, ::mkdir("dev", 0755) == 0, "make /dev");
  for (const char* name : {"null", "zero", "urandom", "random"}) {
    char from[32], to[32];
    std::snprintf(from, sizeof(from), "/dev/%s", name);
    std::snprintf(to, sizeof(to), "dev/%s", name);
    const int fd = ::open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    check(plan, fd >= 0, "make a device file");
    ::close(fd);
    check(plan, ::mount(from, to, nullptr, MS_BIND, nullptr) == 0, "bind a device");
  }
  char options[96];
  std::snprintf(options, sizeof(options), "size=%lld,nr_inodes=4096,mode=777",
                static_cast<long long>(plan.job->limits.scratch_bytes));
  check(plan, ::mkdir("tmp", 0777) == 0, "make /tmp");
  check(plan, ::mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, options) == 0,
        "mount the scratch folder");
  // Leaves no path to the host's tree: the old root is stacked below the new one and detached.
  check(plan, ::syscall(SYS_pivot_root, ".", ".") == 0, "change the root");
  check(plan, ::umount2(".", MNT_DETACH) == 0, "detach the old root");
  check(plan,
        ::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, nullptr) == 0,
        "make the root read-only");
  check(plan, ::chdir("/tmp") == 0, "enter the scratch folder");
}

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
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (plan.drop_groups) check(plan, ::setgroups(0, nullptr) == 0, "drop groups");
  check(plan, ::setresgid(kInnerId, kInnerId, kInnerId) == 0, "change the group");
  check(plan, ::setresuid(kInnerId, kInnerId, kInnerId) == 0, "change the user");
  ::prctl(PR_SET_DUMPABLE, 1);
  check(plan, ::setsid() >= 0, "start a session");
  build_root(plan);
  write_files(plan);
  if (::sethostname("sandbox", 7) != 0) give_up(plan, "set the host name");

  const SandboxLimits& limits = plan.job->limits;
  set_limit(plan, RLIMIT_CORE, 0);
  set_limit(plan, RLIMIT_AS, static_cast<rlim_t>(limits.memory_bytes));
  set_limit(plan, RLIMIT_FSIZE, static_cast<rlim_t>(limits.scratch_bytes));
  set_limit(plan, RLIMIT_NOFILE, static_cast<rlim_t>(limits.open_files));
  set_limit(plan, RLIMIT_NPROC, static_cast<rlim_t>(limits.processes));
  set_limit(plan, RLIMIT_CPU, static_cast<rlim_t>(limits.wall_seconds) + 2);
  set_limit(plan, RLIMIT_MEMLOCK, 0);
  set_limit(plan, RLIMIT_MSGQUEUE, 0);
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
  ::execve(plan.argv[0], plan.argv, environment);
  give_up(placed, "start the program");
}

}  // namespace zeroth::sandbox_detail

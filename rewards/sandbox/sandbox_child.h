// The inside of SandboxSeat::run: what the child does between clone and exec. No C++ allocation
// happens there.
#pragma once

#include <linux/filter.h>

#include "rewards/sandbox/sandbox.h"
#include "rewards/sandbox/system_folders.h"

namespace zeroth::sandbox_detail {

// Everything the child needs, prepared by the parent.
struct ChildPlan {
  const SandboxJob* job = nullptr;
  const RootPlan* root = nullptr;
  char* const* argv = nullptr;
  const sock_fprog* seccomp = nullptr;  // null: probing without the filter
  int ready_fd = -1;  // the parent closes its end when the uid map and the cgroup are set
  // kStarting is written here just before exec, which closes it; "step: error" when set-up fails.
  int status_fd = -1;
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, report_fd = -1;
  uint64_t cpu_seconds = 0;     // of a process; a program whose parent is stopped ends some day
  bool drop_groups = false;     // we are root: supplementary groups must go
  bool limit_processes = true;  // by RLIMIT_NPROC: no control group does
  bool count_memory = false;    // see seccomp_program; /dev/zero, mapped, is such memory too
};

inline constexpr char kStarting = '+';

// uid and gid inside the user namespace.
inline constexpr unsigned kInnerId = 1000;

// Set-up failures are the sandbox's, not the program's: `step` and errno go to the parent.
[[noreturn]] void give_up(const ChildPlan& plan, const char* step);
inline void check(const ChildPlan& plan, bool good, const char* step) {
  if (!good) give_up(plan, step);
}

// Makes the file system of plan.root the only one that this process sees, and enters /tmp. Needs
// mount and user namespaces of its own.
void build_root(const ChildPlan& plan);

// Never returns.
[[noreturn]] void run_child(const ChildPlan& plan);

// The seccomp program (classic BPF), built once. `count_memory`: no control group bounds memory, so
// what could not be counted from outside (TreeMemory) is refused: shared anonymous memory, huge
// pages, larger socket buffers, local datagram sockets. Throws Error when libseccomp fails.
const sock_fprog& seccomp_program(bool count_memory);

}  // namespace zeroth::sandbox_detail

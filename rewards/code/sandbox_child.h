// The inside of SandboxSeat::run: what the child does between clone and exec. No C++ allocation
// happens there.
#pragma once

#include <linux/filter.h>

#include "rewards/code/sandbox.h"
#include "rewards/code/system_folders.h"

namespace zeroth::sandbox_detail {

// Everything the child needs, prepared by the parent.
struct ChildPlan {
  const SandboxJob* job = nullptr;
  const RootPlan* root = nullptr;
  char* const* argv = nullptr;
  const sock_fprog* seccomp = nullptr;  // null: probing without the filter
  int ready_fd = -1;   // the parent closes its end when the uid map and the cgroup are set
  int status_fd = -1;  // the child writes "step errno" here when its set-up fails; closed by exec
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, report_fd = -1;
  bool drop_groups = false;     // we are root: supplementary groups must go
  bool limit_processes = true;  // by RLIMIT_NPROC: no control group does
};

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

// The seccomp program (classic BPF), built once. Throws Error when libseccomp fails.
const sock_fprog& seccomp_program();

}  // namespace zeroth::sandbox_detail

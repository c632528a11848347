// The inside of run_sandboxed: what the child does between clone and exec. No C++ allocation
// happens there.
#pragma once

#include <linux/filter.h>

#include "rewards/code/sandbox.h"

namespace zeroth::sandbox_detail {

// Everything the child needs, prepared by the parent.
struct ChildPlan {
  const SandboxJob* job = nullptr;
  char* const* argv = nullptr;
  const sock_fprog* seccomp = nullptr;  // null: probing without the filter
  int ready_fd = -1;   // the parent closes its end when the uid map and the cgroup are set
  int status_fd = -1;  // the child writes "step errno" here when its set-up fails; closed by exec
  int stdin_fd = -1, stdout_fd = -1, stderr_fd = -1, report_fd = -1;
  bool drop_groups = false;  // we are root: supplementary groups must go
};

// uid and gid inside the user namespace.
inline constexpr unsigned kInnerId = 1000;

// Never returns.
[[noreturn]] void run_child(const ChildPlan& plan);

// The seccomp program (classic BPF), built once. Throws Error when libseccomp fails.
const sock_fprog& seccomp_program();

}  // namespace zeroth::sandbox_detail

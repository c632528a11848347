// What /proc tells about the processes of a sandbox, seen from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace zeroth::sandbox_detail {

// Seconds that the program, the only child of pid 1 of the namespace, was ready to run but waited
// for a core (/proc/PID/schedstat). 0 when the kernel does not tell, and when there is more than
// one process or thread besides pid 1: those may be waiting for each other.
double waited_for_core(pid_t init);

// Memory of all processes below `init` that is their own (RssAnon and RssShmem of
// /proc/PID/status; pages shared after a fork count for each). `processes` becomes their number.
int64_t tree_memory(pid_t init, int* processes);

}  // namespace zeroth::sandbox_detail

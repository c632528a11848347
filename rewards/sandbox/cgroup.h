// A control group for jobs, one after another, where the machine lets us make one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace zeroth {

// Limits memory, swap and processes of a tree. Version 2 (one folder) or version 1 (one folder per
// controller), found once by trying. Does nothing where no hierarchy is writable; available()
// tells. Not thread safe. Making and removing a group takes the kernel 20 to 50 ms, so who runs one
// job after another keeps a group between them; two jobs at a time never share one. It belongs to
// the process that made it, whose number is in its name.
class Cgroup {
 public:
  Cgroup();
  ~Cgroup();  // kills what is left in it and removes it; in a fork of its maker it does nothing
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  // For the next job. False when a limit could not be set, or what earlier jobs left in the group
  // does not let it: make another one.
  bool set_limits(int64_t memory_bytes, int processes);
  // Moves a process there. False when it could not: it then has no limits.
  bool add(pid_t pid);
  bool limits_memory() const { return !memory_folder_.empty(); }
  bool limits_processes() const { return !processes_folder_.empty(); }
  // Since the last set_limits: processes were killed because memory ran out, here or further up;
  // and the group was at its own limit.
  struct MemoryEvents {
    bool killed = false, at_limit = false;
  };
  MemoryEvents memory_events() const;

  static std::string available();  // "v2", "v1 memory pids", or "" when none
  static bool available_memory();  // the memory of a tree can be limited here
  // Removes the empty groups of processes that ended without doing so (kill -9). Another process'
  // groups and what runs in them stay as they are.
  static void remove_stale();
  // Kills what is left in the groups of a process that has ended, and removes them.
  static void remove_of(pid_t maker);

 private:
  const pid_t maker_;
  std::vector<std::string> folders_;
  std::string memory_folder_, processes_folder_;
  int64_t memory_bytes_ = 0, kills_ = 0, at_limit_ = 0;
};

}  // namespace zeroth

// A control group for jobs, one after another, where the machine lets us make one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace zeroth {

// Limits memory, swap and processes of a tree. Version 2 (one folder) or version 1 (one folder per
// controller), found once by trying. Does nothing where no hierarchy is writable; available()
// tells. Not thread safe. Making and removing a group takes the kernel 20 to 50 ms, so a thread
// keeps its own and reuses it.
class Cgroup {
 public:
  Cgroup(int64_t memory_bytes, int processes);
  ~Cgroup();  // kills what is left in it and removes it
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  bool add(pid_t pid);  // false when it could not
  bool limits_memory() const { return !memory_folder_.empty(); }
  int64_t memory_kills() const;    // processes killed so far because the group was over its memory
  static std::string available();  // "v2", "v1 memory pids", or "" when none

 private:
  std::vector<std::string> folders_;
  std::string memory_folder_;
};

}  // namespace zeroth

// What /proc tells about the processes of a sandbox, seen from outside.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace zeroth::sandbox_detail {

// A file of /proc, at most its first 64 KiB; empty when it cannot be read.
std::string proc_text(const std::string& path);

struct TreeThread {
  pid_t process = 0, thread = 0;
};

// Threads of the processes below `init`, pid 1 of the namespace, which is not among them. Stops
// after `most`.
std::vector<TreeThread> tree_threads(pid_t init, size_t most);

// What the processes below `init` use, where no control group counts it.
class TreeMemory {
 public:
  TreeMemory(pid_t init, int64_t limit) : init_(init), limit_(limit) {}
  // Bytes: their own pages, resident or swapped out, page tables, the files of the scratch folder,
  // socket buffers as if they were full, and thousands of mappings. Shared anonymous memory is not
  // seen here: seccomp_program refuses it. When the sum is above the limit, pages that processes
  // share after a fork are counted once; the processes are stopped for that, for milliseconds.
  int64_t look();
  size_t processes() const { return processes_; }  // at the last look

 private:
  int64_t mappings(const std::vector<pid_t>& processes);
  const pid_t init_;
  const int64_t limit_;
  size_t processes_ = 0;
  size_t next_ = 0;                    // whose mappings are counted next
  std::map<pid_t, int64_t> mappings_;  // bytes that the kernel needs for them
};

}  // namespace zeroth::sandbox_detail

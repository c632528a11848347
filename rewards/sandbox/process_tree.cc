#include "rewards/sandbox/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace zeroth::sandbox_detail {
namespace {

constexpr size_t kMostThreads = 4096;

std::string of_process(pid_t pid) { return "/proc/" + std::to_string(pid); }

std::vector<pid_t> threads(pid_t process) {
  std::vector<pid_t> all;
  DIR* folder = ::opendir((of_process(process) + "/task").c_str());
  if (folder == nullptr) return all;
  while (const dirent* entry = ::readdir(folder)) {
    if (const int thread = std::atoi(entry->d_name); thread > 0) all.push_back(thread);
  }
  ::closedir(folder);
  return all;
}

// Processes that a thread started.
void add_children(pid_t process, pid_t thread, std::vector<pid_t>& found) {
  const std::string list =
      proc_text(of_process(process) + "/task/" + std::to_string(thread) + "/children");
  for (const char* at = list.c_str(); *at != 0;) {
    char* end = nullptr;
    const long pid = std::strtol(at, &end, 10);
    if (end == at) break;
    found.push_back(static_cast<pid_t>(pid));
    at = *end == ' ' ? end + 1 : end;
  }
}

// A field of /proc/PID/status or smaps_rollup, in bytes; -1 when it is not there.
int64_t field(const std::string& text, const std::string& name) {
  const size_t at = text.rfind("\n" + name);
  return at == std::string::npos
             ? -1
             : std::strtoll(text.c_str() + at + 1 + name.size(), nullptr, 10) * 1024;
}

bool has_lines(const std::string& path, int64_t least) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  int64_t lines = 0;
  char text[1 << 14];
  for (ssize_t n; lines < least && (n = ::read(fd, text, sizeof(text))) > 0;)
    lines += std::count(text, text + n, '\n');
  ::close(fd);
  return lines >= least;
}

int64_t known(int64_t bytes) { return std::max<int64_t>(bytes, 0); }

// Sockets of the sandbox's network namespace, each with a full buffer. Only stream sockets are
// allowed, so a socket holds no more than what its peer may have under way, however many peers came
// and went.
int64_t socket_buffers(pid_t init) {
  static const int64_t buffer =
      std::strtoll(proc_text("/proc/sys/net/core/wmem_default").c_str(), nullptr, 10);
  const std::string protocols = proc_text(of_process(init) + "/net/protocols");
  int64_t sockets = 0;
  for (size_t at = protocols.find("\nUNIX"); at != std::string::npos;
       at = protocols.find("\nUNIX", at + 1)) {
    // Name, size of an object, sockets.
    char* end = nullptr;
    const char* text = protocols.c_str() + protocols.find(' ', at);
    std::strtol(text, &end, 10);
    sockets += std::strtol(end, nullptr, 10);
  }
  constexpr int64_t kLastMessage = 64 << 10;  // a buffer takes it when it is just not full
  return sockets * (buffer + kLastMessage);
}

int64_t scratch_bytes(pid_t init) {
  struct statvfs info;
  if (::statvfs((of_process(init) + "/root/tmp").c_str(), &info) != 0) return 0;
  return static_cast<int64_t>((info.f_blocks - info.f_bfree) * info.f_frsize);
}

}  // namespace

std::string proc_text(const std::string& path) {
  constexpr size_t kMost = 64 << 10;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::string all;
  if (fd < 0) return all;
  char text[4096];
  for (ssize_t n; all.size() < kMost && (n = ::read(fd, text, sizeof(text))) > 0;)
    all.append(text, static_cast<size_t>(n));
  ::close(fd);
  return all;
}

std::vector<TreeThread> tree_threads(pid_t init, size_t most) {
  std::vector<TreeThread> all;
  std::vector<pid_t> processes;
  add_children(init, init, processes);
  for (size_t i = 0; i < processes.size() && all.size() < most; ++i) {
    for (const pid_t thread : threads(processes[i])) {
      all.push_back({processes[i], thread});
      add_children(processes[i], thread, processes);
    }
  }
  return all;
}

namespace {

// Holds processes still while it lives: those that are looked at for long would grow meanwhile.
class Still {
 public:
  explicit Still(const std::vector<pid_t>& processes) : processes_(processes) { all(SIGSTOP); }
  ~Still() { all(SIGCONT); }
  Still(const Still&) = delete;
  Still& operator=(const Still&) = delete;

 private:
  void all(int signal) {
    for (const pid_t process : processes_) ::kill(process, signal);
  }
  const std::vector<pid_t>& processes_;
};

// What is counted for each process that shares it, but is there once.
int64_t counted_twice(pid_t process, int64_t own) {
  const std::string rollup = proc_text(of_process(process) + "/smaps_rollup");
  const int64_t share = field(rollup, "Pss_Anon:"), swapped = field(rollup, "SwapPss:");
  return share < 0 ? 0 : std::max<int64_t>(own - share - known(swapped), 0);
}

}  // namespace

// A few processes a look, as each takes up to a millisecond. A process has a few hundred mappings,
// or as many as the kernel allows (vm.max_map_count) when it is after that.
int64_t TreeMemory::mappings(const std::vector<pid_t>& processes) {
  constexpr size_t kAtOnce = 16;
  constexpr int64_t kMany = 4096, kMost = 65530, kBytes = 250;
  if (processes.size() < 2) return 0;  // not worth it
  for (size_t i = 0; i < std::min(kAtOnce, processes.size()); ++i) {
    const pid_t process = processes[next_++ % processes.size()];
    mappings_[process] = has_lines(of_process(process) + "/maps", kMany) ? kMost * kBytes : 0;
  }
  int64_t bytes = 0;
  for (const pid_t process : processes) {
    if (const auto at = mappings_.find(process); at != mappings_.end()) bytes += at->second;
  }
  return bytes;
}

int64_t TreeMemory::look() {
  int64_t bytes = socket_buffers(init_) + scratch_bytes(init_);
  if (bytes > limit_) return bytes;
  std::vector<pid_t> processes;
  for (const TreeThread& one : tree_threads(init_, kMostThreads)) {
    if (processes.empty() || processes.back() != one.process) processes.push_back(one.process);
  }
  processes_ = processes.size();
  bytes += mappings(processes);
  std::vector<int64_t> own;
  for (const pid_t process : processes) {
    const std::string status = proc_text(of_process(process) + "/status");
    own.push_back(known(field(status, "RssAnon:")) + known(field(status, "VmSwap:")));
    bytes += known(field(status, "VmPTE:"));
  }
  int64_t all = bytes + std::accumulate(own.begin(), own.end(), int64_t{0});
  const int64_t least = own.empty() ? bytes : bytes + *std::max_element(own.begin(), own.end());
  if (all <= limit_ || least > limit_) return all;
  const Still still(processes);
  for (size_t i = 0; i < processes.size() && all > limit_; ++i)
    all -= counted_twice(processes[i], own[i]);
  return all;
}

}  // namespace zeroth::sandbox_detail

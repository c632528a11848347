#include "tasks/plugins/plugin_children.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace zeroth {
namespace {

constexpr char kVariable[] = "ZEROTH_PLUGIN=";

struct Entry {  // of getdents64(2)
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[1];
};

constexpr int kLooks = 400;  // at most at a process amid exec, kLookEvery apart
constexpr int kLooksAtEmpty = 3;
constexpr timespec kLookEvery{0, 1'000'000};

// A file of the process, opened to be read; -1 when it cannot be.
int open_of(const char* pid, const char* file) {
  char path[64] = "/proc/";
  if (std::strlen(pid) > 16) return -1;
  std::strcat(path, pid);
  std::strcat(path, file);
  return ::open(path, O_RDONLY | O_CLOEXEC);
}

// Bytes of variables that the process holds, by fields 50 and 51 of its stat (proc(5)). -1 amid
// exec, when the new program has none yet, and for what has no memory: a kernel's thread, a zombie.
int64_t size_of_environ(const char* pid) {
  const int fd = open_of(pid, "/stat");
  if (fd < 0) return -1;
  char text[2048];
  const ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (n <= 0) return -1;
  text[n] = '\0';
  const char* at = std::strrchr(text, ')');  // the name, field 2, may hold anything
  uint64_t start = 0, end = 0;
  for (int field = 2; at != nullptr && field < 50; ++field) {
    at = std::strchr(at + 1, ' ');
  }
  if (at == nullptr) return -1;
  for (++at; *at >= '0' && *at <= '9'; ++at) start = start * 10 + static_cast<uint64_t>(*at - '0');
  for (++at; *at >= '0' && *at <= '9'; ++at) end = end * 10 + static_cast<uint64_t>(*at - '0');
  return end == 0 ? -1 : static_cast<int64_t>(end - start);
}

// True when the process runs a program, so it has variables or is about to have them.
bool runs_program(const char* pid) {
  char path[64] = "/proc/", target[8];
  std::strcat(path, pid);
  std::strcat(path, "/exe");
  return ::readlink(path, target, sizeof target) > 0;
}

// Reads all variables of the process in pieces that overlap by the longest mark: true when one
// begins with `mark`. `total` becomes the bytes read, -1 when they may not be read.
bool holds_mark(const char* pid, const char* mark, size_t length, int64_t& total) {
  total = -1;
  const int fd = open_of(pid, "/environ");
  if (fd < 0) return false;
  total = 0;
  char bytes[8192];
  size_t kept = 0;
  bool start = true, found = false;  // the piece begins with a variable
  while (!found) {
    const ssize_t n = ::read(fd, bytes + kept, sizeof bytes - kept);
    if (n <= 0) break;
    total += n;
    const size_t size = kept + static_cast<size_t>(n);
    for (size_t i = 0; i + length <= size && !found; ++i) {
      const bool first = i == 0 ? start : bytes[i - 1] == '\0';
      found = first && std::memcmp(bytes + i, mark, length) == 0;
    }
    kept = size < length ? size : length;
    start = size == kept ? start : bytes[size - kept - 1] == '\0';
    std::memmove(bytes, bytes + size - kept, kept);
  }
  ::close(fd);
  return found;
}

// True when a variable of the process begins with `mark`. While a process is amid exec its old
// variables are gone and its new ones not there: the kernel answers nothing, or a part. Such a
// process is looked at again, else it would outlive the walk.
bool is_marked(const char* pid, const char* mark, size_t length) {
  for (int look = 0; look < kLooks; ++look) {
    if (look > 0) ::nanosleep(&kLookEvery, nullptr);
    int64_t total = 0;
    if (holds_mark(pid, mark, length, total)) return true;
    if (total < 0) return false;
    const int64_t size = size_of_environ(pid);
    if (size < 0 && !runs_program(pid)) return false;
    // The range is empty for an instant of exec, and always in a process that cleared it.
    if (size == total && (size > 0 || look >= kLooksAtEmpty)) return false;
  }
  return false;
}

// One walk over /proc; true when something was killed.
bool kill_once(const char* mark, size_t length) {
  const int proc = ::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (proc < 0) return false;
  bool killed = false;
  alignas(8) char entries[16384];
  for (;;) {
    const long size = ::syscall(SYS_getdents64, proc, entries, sizeof entries);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const Entry*>(entries + at);
      const char* name = entries + at + offsetof(Entry, name);
      at += entry->length;
      pid_t pid = 0;
      const char* digit = name;
      while (*digit >= '0' && *digit <= '9') pid = pid * 10 + (*digit++ - '0');
      if (*digit != '\0' || pid <= 1 || pid == ::getpid()) continue;
      if (!is_marked(name, mark, length)) continue;
      killed |= ::kill(pid, SIGKILL) == 0;
    }
  }
  ::close(proc);
  return killed;
}

// Waits for the end of the process that holds the other end of the pipe.
[[noreturn]] void keep(int pipe, const char* mark) {
  ::setsid();
  ::prctl(PR_SET_NAME, "zeroth-keeper");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_IGN);
  ::dup2(pipe, 0);
  ::syscall(SYS_close_range, 3u, ~0u, 0u);
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, 1);
  ::dup2(null, 2);
  char byte = 0;
  while (::read(0, &byte, 1) < 0 && errno == EINTR) {
  }
  kill_marked(mark);
  ::_exit(0);
}

// The mark that all workers of this process share; starts the keeper.
const std::string& process_mark() {
  static const std::string mark = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    std::string text = kVariable + std::to_string(::getpid()) + "-" + std::to_string(now) + ".";
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return text;
    const pid_t pid = ::fork();
    if (pid == 0) keep(ends[0], text.c_str());
    ::close(ends[0]);
    if (pid < 0) ::close(ends[1]);  // else it stays open until this process ends
    return text;
  }();
  return mark;
}

}  // namespace

std::string new_worker_mark() {
  static std::atomic<int64_t> next{0};
  return process_mark() + std::to_string(next++) + ";";
}

void kill_marked(const char* mark) {
  const size_t length = std::strlen(mark);
  // What was started while the walk went on is met by the next one.
  for (int i = 0; i < 20 && kill_once(mark, length); ++i) {
  }
}

}  // namespace zeroth

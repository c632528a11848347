// macOS: prepared, and never tried on such a machine.
#include "core/system.h"

#include <fcntl.h>
#include <mach-o/dyld.h>
#include <mach/mach.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace zeroth::system {
namespace {

namespace fs = std::filesystem;

constexpr double kMiB = 1 << 20;

// Known before anything forks: between fork and exec nothing may be allocated.
const std::string& program_path() {
  static const std::string path = [] {
    uint32_t size = 0;
    ::_NSGetExecutablePath(nullptr, &size);
    std::string text(size, '\0');
    if (::_NSGetExecutablePath(text.data(), &size) != 0) return std::string();
    std::error_code error;
    const fs::path real = fs::canonical(text.c_str(), error);
    return error ? std::string(text.c_str()) : real.string();
  }();
  return path;
}
[[maybe_unused]] const std::string& kKnownEarly = program_path();

int64_t sysctl_number(const char* name) {
  int64_t value = 0;
  size_t size = sizeof value;
  return ::sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

// Closed by exec, no signal when the other end has gone.
int own_socket(int fd, bool blocking) {
  if (fd < 0) return fd;
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (!blocking) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

std::vector<kinfo_proc> all_processes() {
  int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_ALL, 0};
  size_t bytes = 0;
  if (::sysctl(name, 3, nullptr, &bytes, nullptr, 0) != 0) return {};
  std::vector<kinfo_proc> all(bytes / sizeof(kinfo_proc) + 64);  // some may begin meanwhile
  bytes = all.size() * sizeof(kinfo_proc);
  if (::sysctl(name, 3, all.data(), &bytes, nullptr, 0) != 0) return {};
  all.resize(bytes / sizeof(kinfo_proc));
  return all;
}

// Arguments and variables of the process, each behind a zero byte; empty when they may not be read.
std::string words_of(pid_t process) {
  int name[] = {CTL_KERN, KERN_PROCARGS2, process};
  size_t bytes = 0;
  if (::sysctl(name, 3, nullptr, &bytes, nullptr, 0) != 0) return {};
  std::string text(bytes, '\0');
  if (::sysctl(name, 3, text.data(), &bytes, nullptr, 0) != 0) return {};
  text.resize(bytes);
  return text;
}

}  // namespace

fs::path program_file() { return program_path(); }

fs::path program_image() { return program_path(); }

void run_program_anew(char* const* argv) { ::execv(program_path().c_str(), argv); }

MemoryUse own_memory() {
  mach_task_basic_info info{};
  mach_msg_type_number_t size = MACH_TASK_BASIC_INFO_COUNT;
  if (::task_info(::mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info),
                  &size) != KERN_SUCCESS)
    return {};
  return {static_cast<double>(info.resident_size) / kMiB,
          static_cast<double>(info.resident_size_max) / kMiB};
}

void reset_peak_memory() {}

double free_memory_mb() {
  vm_statistics64 info{};
  mach_msg_type_number_t size = HOST_VM_INFO64_COUNT;
  if (::host_statistics64(::mach_host_self(), HOST_VM_INFO64,
                          reinterpret_cast<host_info64_t>(&info), &size) != KERN_SUCCESS)
    return -1;
  const double pages = static_cast<double>(info.free_count) + info.inactive_count;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / kMiB;
}

void ask_for_large_pages(void*, size_t, size_t) {}

int usable_cores() { return static_cast<int>(sysctl_number("hw.activecpu")); }

int64_t last_cache_bytes() {
  for (const char* name : {"hw.l3cachesize", "hw.perflevel0.l2cachesize", "hw.l2cachesize"}) {
    if (const int64_t bytes = sysctl_number(name); bytes > 0) return bytes;
  }
  return 0;
}

std::optional<double> joules() { return std::nullopt; }

bool fill_random(std::span<std::byte> to) {
  ::arc4random_buf(to.data(), to.size());
  return true;
}

int open_unnamed_file(const fs::path&) { return -1; }

// Nothing lists locks here: one that can be had for a moment was nobody's.
bool is_flocked(const fs::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return false;
  const bool free = ::flock(fd, LOCK_SH | LOCK_NB) == 0;
  ::close(fd);
  return !free;
}

bool open_pipe(int ends[2]) {
  if (::pipe(ends) != 0) return false;
  for (int i = 0; i < 2; ++i) ::fcntl(ends[i], F_SETFD, FD_CLOEXEC);
  return true;
}

void close_from(int first) {
  const int end = ::getdtablesize();
  for (int fd = first; fd < end; ++fd) ::close(fd);
}

int stream_socket(int family, bool blocking) {
  return own_socket(::socket(family, SOCK_STREAM, 0), blocking);
}

int accept_stream(int listener) { return own_socket(::accept(listener, nullptr, nullptr), false); }

ssize_t send_quietly(int socket, const void* data, size_t bytes) {
  return ::send(socket, data, bytes, 0);
}

void end_with_parent(int) {}

void set_process_name(const char* name) { ::pthread_setname_np(name); }

bool adopt_orphans() { return false; }

std::vector<std::pair<pid_t, pid_t>> parents() {
  std::vector<std::pair<pid_t, pid_t>> all;
  for (const kinfo_proc& one : all_processes())
    all.emplace_back(one.kp_proc.p_pid, one.kp_eproc.e_ppid);
  return all;
}

bool kill_by_variable(const char* start) {
  const std::string wanted = std::string(1, '\0') + start;
  bool killed = false;
  for (const kinfo_proc& one : all_processes()) {
    const pid_t process = one.kp_proc.p_pid;
    if (process <= 1 || process == ::getpid()) continue;
    if (words_of(process).find(wanted) == std::string::npos) continue;
    killed |= ::kill(process, SIGKILL) == 0;
  }
  return killed;
}

uint64_t machine_mark() { return 0; }

void let_siblings_read() {}

bool read_memory(pid_t, uint64_t, std::span<std::byte>) { return false; }

}  // namespace zeroth::system

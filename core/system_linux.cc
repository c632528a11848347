#include "core/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace zeroth::system {
namespace {

namespace fs = std::filesystem;

constexpr char kImage[] = "/proc/self/exe";

// MiB of a line "VmRSS:  1234 kB"; -1: there is none.
double line_mb(const char* file, std::string_view name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.size() > name.size() && line[name.size()] == ':' && line.starts_with(name))
      return std::atof(line.c_str() + name.size() + 1) / 1024;
  }
  return -1;
}

std::optional<double> number_in(const fs::path& file) {
  std::ifstream in(file);
  double value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

}  // namespace

fs::path program_file() {
  std::error_code error;
  return fs::read_symlink(kImage, error);
}

fs::path program_image() { return kImage; }

void run_program_anew(char* const* argv) { ::execv(kImage, argv); }

MemoryUse own_memory() {
  return {line_mb("/proc/self/status", "VmRSS"), line_mb("/proc/self/status", "VmHWM")};
}

void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

double free_memory_mb() { return line_mb("/proc/meminfo", "MemAvailable"); }

void ask_for_large_pages(void* memory, size_t bytes, size_t large_page) {
  ::madvise(memory, bytes / large_page * large_page, MADV_HUGEPAGE);
}

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;
}

// In a virtual machine sysconf may name the host's whole cache, while the system's table names the
// share that this machine sees.
int64_t last_cache_bytes() {
  int64_t bytes = 0;
  for (int index = 0; index < 8; ++index) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) +
                       "/size");
    int64_t size = 0;
    char unit = 0;
    if (file >> size >> unit) bytes = std::max(bytes, size << (unit == 'M' ? 20 : 10));
  }
  if (bytes > 0) return bytes;
  return std::max({::sysconf(_SC_LEVEL3_CACHE_SIZE), ::sysconf(_SC_LEVEL2_CACHE_SIZE), 0L});
}

// Packages only (intel-rapl:0, ..): what is below one (intel-rapl:0:1) is a part of it.
std::optional<double> joules() {
  static std::mutex mutex;
  static std::map<std::string, std::pair<double, double>> last;  // microjoules: read, wrapped
  const std::lock_guard lock(mutex);
  double sum = 0;
  bool any = false;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/class/powercap", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find("rapl:") == std::string::npos || name.find(':') != name.rfind(':')) continue;
    const auto now = number_in(entry.path() / "energy_uj");
    if (!now) continue;
    auto& [read, wrapped] = last.try_emplace(name, *now, 0.0).first->second;
    if (*now < read) wrapped += number_in(entry.path() / "max_energy_range_uj").value_or(0);
    read = *now;
    sum += 1e-6 * (*now + wrapped);
    any = true;
  }
  if (!any) return std::nullopt;
  return sum;
}

bool fill_random(std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t n = ::getrandom(to.data(), to.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to = to.subspan(static_cast<size_t>(n));
  }
  return true;
}

int open_unnamed_file(const fs::path& folder) {
  return ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

bool is_flocked(const fs::path& file) {
  struct stat info;
  if (::lstat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  // "12: FLOCK  ADVISORY  WRITE 4711 fe:01:123456 0 EOF"
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    char kind[16] = {};
    unsigned major_number = 0;
    unsigned minor_number = 0;
    unsigned long long inode = 0;
    if (std::sscanf(line.c_str(), "%*s %15s %*s %*s %*d %x:%x:%llu", kind, &major_number,
                    &minor_number, &inode) != 4)
      continue;
    // The device of an overlay is not the one of its files, so that the inode has to do there.
    if (std::string_view(kind) == "FLOCK" && inode == info.st_ino) return true;
  }
  return false;
}

bool open_pipe(int ends[2]) { return ::pipe2(ends, O_CLOEXEC) == 0; }

int stream_socket(int family, bool blocking) {
  return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0);
}

int accept_stream(int listener) {
  return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

ssize_t send_quietly(int socket, const void* data, size_t bytes) {
  return ::send(socket, data, bytes, MSG_NOSIGNAL);
}

void end_with_parent(int signal) { ::prctl(PR_SET_PDEATHSIG, signal); }

void set_process_name(const char* name) { ::prctl(PR_SET_NAME, name); }

bool adopt_orphans() { return ::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0; }

uint64_t machine_mark() {
  std::string text;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), text);
  struct stat space {};
  if (text.empty() || ::stat("/proc/self/ns/pid", &space) != 0) return 0;
  text += ' ' + std::to_string(space.st_ino);
  uint64_t hash = 14695981039346656037ull;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return hash;
}

void let_siblings_read() {
#ifdef PR_SET_PTRACER
  const pid_t parent = ::getppid();
  // Fails where there is no Yama, which is as well.
  if (parent > 1) ::prctl(PR_SET_PTRACER, parent, 0, 0, 0);
#endif
}

bool read_memory(pid_t process, uint64_t address, std::span<std::byte> to) {
  constexpr size_t kMostBytes = size_t{1} << 30;  // a kernel reads at most 2 GiB in a call
  while (!to.empty()) {
    const iovec here{to.data(), std::min(to.size(), kMostBytes)};
    const iovec there{std::bit_cast<void*>(static_cast<uintptr_t>(address)), here.iov_len};
    const ssize_t n = ::process_vm_readv(process, &here, 1, &there, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to = to.subspan(static_cast<size_t>(n));
    address += static_cast<uint64_t>(n);
  }
  return true;
}

// What other processes are, by a walk over /proc.
namespace {

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

}  // namespace

bool kill_by_variable(const char* start) {
  const size_t length = std::strlen(start);
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
      if (!is_marked(name, start, length)) continue;
      killed |= ::kill(pid, SIGKILL) == 0;
    }
  }
  ::close(proc);
  return killed;
}

void close_from(int first) { ::syscall(SYS_close_range, static_cast<unsigned>(first), ~0u, 0u); }

std::vector<std::pair<pid_t, pid_t>> parents() {
  std::vector<std::pair<pid_t, pid_t>> all;
  DIR* folder = ::opendir("/proc");
  if (folder == nullptr) return all;
  while (const dirent* entry = ::readdir(folder)) {
    if (!std::isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
    const std::string path = std::string("/proc/") + entry->d_name + "/stat";
    FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) continue;
    char text[512] = {};
    const size_t size = std::fread(text, 1, sizeof(text) - 1, file);
    std::fclose(file);
    // The name in parentheses may hold anything; state and parent follow the last one.
    const std::string stat(text, size);
    const size_t close = stat.rfind(')');
    if (close == std::string::npos || close + 4 > stat.size()) continue;
    all.emplace_back(std::atoi(entry->d_name), std::atoi(stat.c_str() + close + 3));
  }
  ::closedir(folder);
  return all;
}

}  // namespace zeroth::system

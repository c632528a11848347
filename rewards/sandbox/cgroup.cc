#include "rewards/sandbox/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace zeroth {
namespace {

bool write_text(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return done;
}

std::string read_text(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Where this process may make groups, per kind.
struct Hierarchies {
  std::string unified;       // v2 parent with the memory and pids controllers, or empty
  std::string memory, pids;  // v1 parents, or empty
};

// The folder of this process in the hierarchy of `controller` ("" = v2), from /proc/self/cgroup.
std::string own_path(const std::string& controller) {
  std::istringstream lines(read_text("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const size_t a = line.find(':'), b = line.find(':', a + 1);
    if (a == std::string::npos || b == std::string::npos) continue;
    const std::string names = "," + line.substr(a + 1, b - a - 1) + ",";
    const bool match = controller.empty() ? names == ",,"
                                          : names.find("," + controller + ",") != std::string::npos;
    if (match) return line.substr(b + 1);
  }
  return "/";
}

bool try_folder(const std::string& parent, const std::string& needed_file) {
  const std::string folder = parent + "/zeroth-probe-" + std::to_string(::getpid());
  if (::mkdir(folder.c_str(), 0755) != 0) return false;
  const bool good = ::access((folder + "/" + needed_file).c_str(), W_OK) == 0;
  ::rmdir(folder.c_str());
  return good;
}

Hierarchies find_hierarchies() {
  Hierarchies found;
  for (const std::string& root :
       std::vector<std::string>{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    if (::access((root + "/cgroup.controllers").c_str(), F_OK) != 0) continue;
    for (const std::string& parent : std::vector<std::string>{root + own_path(""), root}) {
      if (try_folder(parent, "memory.max") && try_folder(parent, "pids.max")) {
        found.unified = parent;
        return found;
      }
    }
  }
  const auto v1 = [](const std::string& controller, const std::string& file) -> std::string {
    const std::string root = "/sys/fs/cgroup/" + controller;
    for (const std::string& parent : std::vector<std::string>{root + own_path(controller), root}) {
      if (try_folder(parent, file)) return parent;
    }
    return "";
  };
  found.memory = v1("memory", "memory.limit_in_bytes");
  found.pids = v1("pids", "pids.max");
  return found;
}

const Hierarchies& hierarchies() {
  static const Hierarchies found = find_hierarchies();
  return found;
}

std::vector<std::string> parents() {
  const Hierarchies& h = hierarchies();
  if (!h.unified.empty()) return {h.unified};
  std::vector<std::string> all;
  for (const std::string& parent : {h.memory, h.pids}) {
    if (!parent.empty()) all.push_back(parent);
  }
  return all;
}

// A group's name has its maker's number: zeroth-PID-N. 0 when it is not one of ours.
pid_t maker_of(const std::string& name) {
  int pid = 0, number = 0, used = 0;
  if (std::sscanf(name.c_str(), "zeroth-%d-%d%n", &pid, &number, &used) < 2 &&
      std::sscanf(name.c_str(), "zeroth-probe-%d%n", &pid, &used) < 1)
    return 0;
  return static_cast<size_t>(used) == name.size() && pid > 0 ? pid : 0;
}

// Groups of ours below `parent`, by folder.
std::vector<std::pair<std::string, pid_t>> groups_below(const std::string& parent) {
  std::vector<std::pair<std::string, pid_t>> found;
  DIR* folder = ::opendir(parent.c_str());
  if (folder == nullptr) return found;
  while (const dirent* entry = ::readdir(folder)) {
    if (const pid_t maker = maker_of(entry->d_name); maker != 0)
      found.emplace_back(parent + "/" + entry->d_name, maker);
  }
  ::closedir(folder);
  return found;
}

void kill_and_remove(const std::string& folder) {
  constexpr int kMostAttempts = 2000;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    if (::rmdir(folder.c_str()) == 0 || errno == ENOENT) return;
    std::istringstream pids(read_text(folder + "/cgroup.procs"));
    for (pid_t pid; pids >> pid;) ::kill(pid, SIGKILL);
    ::usleep(1000);
  }
}

// What a group counted since it was made.
struct Counts {
  int64_t kills = 0, at_limit = 0;
  int64_t most_used = 0;  // bytes, version 1 only: since it was set to 0
};

Counts counts(const std::string& folder) {
  Counts found;
  for (const char* file : {"/memory.events", "/memory.oom_control"}) {
    std::istringstream lines(read_text(folder + file));
    for (std::string key, value; lines >> key >> value;) {
      if (key == "oom_kill") found.kills = std::atoll(value.c_str());
      if (key == "max") found.at_limit = std::atoll(value.c_str());
    }
  }
  found.most_used = std::atoll(read_text(folder + "/memory.max_usage_in_bytes").c_str());
  return found;
}

}  // namespace

std::string Cgroup::available() {
  const Hierarchies& h = hierarchies();
  if (!h.unified.empty()) return "v2";
  if (h.memory.empty() && h.pids.empty()) return "";
  return std::string("v1") + (h.memory.empty() ? "" : " memory") + (h.pids.empty() ? "" : " pids");
}

bool Cgroup::available_memory() {
  return !hierarchies().unified.empty() || !hierarchies().memory.empty();
}

void Cgroup::remove_stale() {
  for (const std::string& parent : parents()) {
    for (const auto& [folder, maker] : groups_below(parent)) {
      // Where the maker only seems dead, because it lives in another pid namespace, a removed group
      // is noticed and made again.
      if (::kill(maker, 0) != 0 && errno == ESRCH) ::rmdir(folder.c_str());
    }
  }
}

void Cgroup::remove_of(pid_t maker) {
  for (const std::string& parent : parents()) {
    for (const auto& [folder, pid] : groups_below(parent)) {
      if (pid == maker) kill_and_remove(folder);
    }
  }
}

Cgroup::Cgroup() : maker_(::getpid()) {
  static std::atomic<int> counter{0};
  const Hierarchies& h = hierarchies();
  const auto make = [&](const std::string& parent) -> std::string {
    if (parent.empty()) return "";
    // A name may be taken: by a process that was killed and had the same number.
    constexpr int kMostTries = 1000;
    for (int i = 0; i < kMostTries; ++i) {
      const std::string folder =
          parent + "/zeroth-" + std::to_string(maker_) + "-" + std::to_string(counter++);
      if (::mkdir(folder.c_str(), 0755) == 0) {
        folders_.push_back(folder);
        return folder;
      }
      if (errno != EEXIST) break;
    }
    return "";
  };
  if (!h.unified.empty()) {
    memory_folder_ = processes_folder_ = make(h.unified);
  } else {
    memory_folder_ = make(h.memory);
    processes_folder_ = make(h.pids);
  }
}

bool Cgroup::set_limits(int64_t memory_bytes, int processes) {
  const std::string memory = std::to_string(memory_bytes);
  bool all = true;
  if (!memory_folder_.empty() && !hierarchies().unified.empty()) {
    all &= write_text(memory_folder_ + "/memory.max", memory);
    write_text(memory_folder_ + "/memory.swap.max", "0");  // absent without swap
    write_text(memory_folder_ + "/memory.oom.group", "1");
  } else if (!memory_folder_.empty()) {
    // The limit of memory may never be above that of memory and swap: which is first depends on
    // the direction.
    const std::string limit = memory_folder_ + "/memory.limit_in_bytes";
    const std::string with_swap = memory_folder_ + "/memory.memsw.limit_in_bytes";
    const bool lowered = write_text(limit, memory);
    write_text(with_swap, memory);  // absent without swap accounting
    all &= lowered || write_text(limit, memory);
    write_text(memory_folder_ + "/memory.max_usage_in_bytes", "0");
  }
  if (!memory_folder_.empty()) {
    const Counts now = counts(memory_folder_);
    kills_ = now.kills;
    at_limit_ = now.at_limit;
    memory_bytes_ = memory_bytes;
  }
  if (!processes_folder_.empty())
    all &= write_text(processes_folder_ + "/pids.max", std::to_string(processes));
  return all;
}

bool Cgroup::add(pid_t pid) {
  bool all = true;
  for (const std::string& folder : folders_)
    all &= write_text(folder + "/cgroup.procs", std::to_string(pid));
  return all;
}

Cgroup::MemoryEvents Cgroup::memory_events() const {
  MemoryEvents events;
  if (memory_folder_.empty()) return events;
  const Counts now = counts(memory_folder_);
  events.killed = now.kills > kills_;
  // Version 1 keeps the largest use: a charge of many pages fails a little below the limit.
  constexpr int64_t kMargin = 4 << 20;
  events.at_limit = now.at_limit > at_limit_ ||
                    now.most_used > memory_bytes_ - std::min(kMargin, memory_bytes_ / 8);
  return events;
}

Cgroup::~Cgroup() {
  if (maker_ != ::getpid()) return;
  for (const std::string& folder : folders_) kill_and_remove(folder);
}

}  // namespace zeroth

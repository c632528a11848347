#include "rewards/code/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
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

}  // namespace

std::string Cgroup::available() {
  const Hierarchies& h = hierarchies();
  if (!h.unified.empty()) return "v2";
  if (h.memory.empty() && h.pids.empty()) return "";
  return std::string("v1") + (h.memory.empty() ? "" : " memory") + (h.pids.empty() ? "" : " pids");
}

Cgroup::Cgroup(int64_t memory_bytes, int processes) {
  static std::atomic<int> counter{0};
  const std::string name =
      "/zeroth-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  const Hierarchies& h = hierarchies();
  const auto make = [&](const std::string& parent) -> std::string {
    if (parent.empty() || ::mkdir((parent + name).c_str(), 0755) != 0) return "";
    folders_.push_back(parent + name);
    return folders_.back();
  };
  if (const std::string group = make(h.unified); !group.empty()) {
    memory_folder_ = group;
    write_text(group + "/memory.max", std::to_string(memory_bytes));
    write_text(group + "/memory.swap.max", "0");
    write_text(group + "/memory.oom.group", "1");
    write_text(group + "/pids.max", std::to_string(processes));
    return;
  }
  if (const std::string group = make(h.memory); !group.empty()) {
    memory_folder_ = group;
    write_text(group + "/memory.limit_in_bytes", std::to_string(memory_bytes));
    write_text(group + "/memory.memsw.limit_in_bytes", std::to_string(memory_bytes));
  }
  if (const std::string group = make(h.pids); !group.empty()) {
    write_text(group + "/pids.max", std::to_string(processes));
  }
}

bool Cgroup::add(pid_t pid) {
  bool all = true;
  for (const std::string& folder : folders_)
    all &= write_text(folder + "/cgroup.procs", std::to_string(pid));
  return all;
}

int64_t Cgroup::memory_kills() const {
  if (memory_folder_.empty()) return 0;
  for (const char* file : {"/memory.events", "/memory.oom_control"}) {
    std::istringstream lines(read_text(memory_folder_ + file));
    for (std::string key, value; lines >> key >> value;) {
      if (key == "oom_kill") return std::atoll(value.c_str());
    }
  }
  return 0;
}

Cgroup::~Cgroup() {
  for (const std::string& folder : folders_) {
    for (int attempt = 0; ::rmdir(folder.c_str()) != 0 && attempt < 200; ++attempt) {
      std::istringstream pids(read_text(folder + "/cgroup.procs"));
      for (pid_t pid; pids >> pid;) ::kill(pid, SIGKILL);
      ::usleep(1000);
    }
  }
}

}  // namespace zeroth

#include "rewards/code/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace zeroth::sandbox_detail {
namespace {

constexpr size_t kMostProcesses = 4096;

std::string beginning(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[4096];
  const ssize_t n = ::read(fd, text, sizeof(text));
  ::close(fd);
  return std::string(text, static_cast<size_t>(std::max<ssize_t>(n, 0)));
}

std::vector<std::string> threads(const std::string& process) {
  std::vector<std::string> all;
  DIR* folder = ::opendir((process + "/task").c_str());
  if (folder == nullptr) return all;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') all.push_back(process + "/task/" + entry->d_name);
  }
  ::closedir(folder);
  return all;
}

// Processes that any thread of this one started.
std::vector<std::string> children(const std::string& process) {
  std::vector<std::string> all;
  for (const std::string& thread : threads(process)) {
    const std::string list = beginning(thread + "/children");
    for (size_t at = 0; at < list.size();) {
      const size_t end = std::min(list.find(' ', at), list.size());
      if (end > at) all.push_back("/proc/" + list.substr(at, end - at));
      at = end + 1;
    }
  }
  return all;
}

int64_t status_field(const std::string& status, const char* name) {
  const size_t at = status.find(name);
  return at == std::string::npos
             ? 0
             : std::strtoll(status.c_str() + at + std::string(name).size(), nullptr, 10) * 1024;
}

}  // namespace

double waited_for_core(pid_t init) {
  const std::vector<std::string> programs = children("/proc/" + std::to_string(init));
  if (programs.size() != 1 || threads(programs[0]).size() != 1 || !children(programs[0]).empty())
    return 0;
  // Time on a core and time waiting, in nanoseconds.
  const std::string stat = beginning(programs[0] + "/schedstat");
  const size_t blank = stat.find(' ');
  return blank == std::string::npos ? 0 : std::strtod(stat.c_str() + blank, nullptr) * 1e-9;
}

int64_t tree_memory(pid_t init, int* processes) {
  std::vector<std::string> found = children("/proc/" + std::to_string(init));
  int64_t bytes = 0;
  for (size_t i = 0; i < found.size() && found.size() < kMostProcesses; ++i) {
    const std::string status = beginning(found[i] + "/status");
    bytes += status_field(status, "RssAnon:") + status_field(status, "RssShmem:");
    const std::vector<std::string> more = children(found[i]);
    found.insert(found.end(), more.begin(), more.end());
  }
  *processes = static_cast<int>(found.size());
  return bytes;
}

}  // namespace zeroth::sandbox_detail

#include "rewards/sandbox/system_folders.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>

#include "core/error.h"

namespace zeroth::sandbox_detail {
namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool is_link(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
}

std::vector<std::string> entries(const std::string& folder, const std::string& begin) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().rfind(begin, 0) == 0) found.push_back(at->path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void add_if_there(std::vector<std::string>& list, const std::string& path) {
  if (exists(path)) list.push_back(path);
}

// The folders of shared libraries: that of the C library alone where the distribution keeps one per
// architecture (Debian), else the whole lib folder (Arch, Alpine) or lib64 (Fedora).
void add_libraries(std::vector<std::string>& list, const std::string& prefix) {
  bool found = false;
  for (const std::string& folder : entries(prefix + "/lib", "")) {
    if (folder.find("-linux-") == std::string::npos || !exists(folder + "/libc.so.6")) continue;
    list.push_back(folder);
    found = true;
  }
  // Holds the dynamic loader, on Debian nothing else.
  if (!is_link(prefix + "/lib64")) add_if_there(list, prefix + "/lib64");
  found |= exists(prefix + "/lib64/libc.so.6") && !is_link(prefix + "/lib64");
  if (!found) add_if_there(list, prefix + "/lib");
}

// The library of the interpreter at `python`, PREFIX/bin/python3: PREFIX/lib/python3.11.
void add_python(std::vector<std::string>& list, const std::string& python) {
  std::error_code error;
  const fs::path real = fs::canonical(python, error);
  if (error) return;
  const std::string prefix = real.parent_path().parent_path().string();
  std::string name = real.filename().string();
  if (name.find('.') == std::string::npos) name += '.';  // no version in it: all of them
  for (const char* lib : {"/lib", "/lib64"}) {
    for (const std::string& folder : entries(prefix + lib, name)) list.push_back(folder);
    if (prefix == "/usr") continue;
    for (const std::string& file : entries(prefix + lib, "libpython")) list.push_back(file);
  }
  if (prefix != "/usr") {
    list.push_back(python);
    if (real.string() != python) list.push_back(real.string());
  }
}

SystemFolders find_folders() {
  SystemFolders found;
  for (const char* path : {"/usr/bin/python3", "/usr/local/bin/python3"}) {
    if (found.python.empty() && ::access(path, X_OK) == 0) found.python = path;
  }
  std::vector<std::string>& runtime = found.runtime;
  add_if_there(runtime, "/usr/bin");
  add_libraries(runtime, "/usr");
  // Distributions that keep /lib apart from /usr/lib.
  if (!is_link("/lib")) add_libraries(runtime, "");
  if (!is_link("/bin")) add_if_there(runtime, "/bin");
  if (!found.python.empty()) add_python(runtime, found.python);
  add_if_there(runtime, "/usr/lib/locale");      // C.UTF-8
  add_if_there(runtime, "/usr/share/zoneinfo");  // the zoneinfo module
  for (const char* path : {"/usr/lib/gcc", "/usr/lib64/gcc", "/usr/libexec/gcc", "/usr/include"})
    add_if_there(found.compiler, path);
  return found;
}

bool below(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.compare(0, folder.size(), folder) == 0 &&
         path[folder.size()] == '/';
}

void add_parents(std::vector<std::string>& folders, const std::string& path) {
  for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = path.substr(0, at);
    if (std::find(folders.begin(), folders.end(), parent) == folders.end())
      folders.push_back(parent);
  }
}

}  // namespace

const SystemFolders& system_folders() {
  static const SystemFolders found = find_folders();
  return found;
}

RootPlan plan_root(bool compile, const std::vector<std::string>& further) {
  const SystemFolders& system = system_folders();
  std::vector<std::string> paths = system.runtime;
  if (compile) paths.insert(paths.end(), system.compiler.begin(), system.compiler.end());
  for (const std::string& path : further) {
    if (path.empty() || path[0] != '/' || path.find("/..") != std::string::npos)
      fail("cannot show \"" + path + "\" to a sandboxed program", "give an absolute path");
    if (exists(path)) paths.push_back(path);
  }
  // A folder comes before what lies below it.
  std::sort(paths.begin(), paths.end());
  RootPlan plan;
  for (const std::string& path : paths) {
    const bool covered = std::any_of(plan.binds.begin(), plan.binds.end(), [&](const Bind& bind) {
      return path == bind.from || (!bind.file && below(path, bind.from));
    });
    if (covered) continue;
    Bind bind{path, path.substr(1), !fs::is_directory(path)};
    add_parents(plan.folders, bind.to);
    if (!bind.file) plan.folders.push_back(bind.to);
    plan.binds.push_back(std::move(bind));
  }
  for (const char* name : {"bin", "lib", "lib64"}) {
    std::error_code error;
    const fs::path target = fs::read_symlink(std::string("/") + name, error);
    if (!error) plan.links.emplace_back(name, target.string());
  }
  return plan;
}

}  // namespace zeroth::sandbox_detail

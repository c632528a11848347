// What of the host's file system a sandboxed program sees: the interpreter, its library, the C
// library, the programs of /usr/bin and, when it compiles, what g++ needs. Nothing else of /usr:
// /usr/src, /usr/local and /usr/share hold other people's files, hidden tests among them.
#pragma once

#include <string>
#include <vector>

namespace zeroth::sandbox_detail {

// One folder or file of the host and its place below the new root.
struct Bind {
  std::string from;  // absolute
  std::string to;    // relative to the new root: "usr/bin"
  bool file = false;
};

// A file system in the order in which it is made: folders, then binds, then links.
struct RootPlan {
  std::vector<std::string> folders;  // relative, parents first; mount points of folders included
  std::vector<Bind> binds;           // none lies below another
  std::vector<std::pair<std::string, std::string>> links;  // name at the root, target: bin, usr/bin
};

struct SystemFolders {
  std::string python;                 // interpreter below /usr, empty when there is none
  std::vector<std::string> runtime;   // absolute paths that Python and compiled programs need
  std::vector<std::string> compiler;  // further ones for g++
};

// Found once by looking at the file system; runs nothing. Thread safe.
const SystemFolders& system_folders();

// The root for a job: `runtime`, with `compile` also `compiler`, and `further` (absolute paths of
// folders or files; those that do not exist are left out). Throws Error on a path that is relative
// or has "..".
RootPlan plan_root(bool compile, const std::vector<std::string>& further);

}  // namespace zeroth::sandbox_detail

#include "cli/shipped.h"

#include <filesystem>

#include "core/system.h"

namespace zeroth {

namespace fs = std::filesystem;

std::string find_shipped(const std::string& path) {
  std::error_code error;
  if (path.empty() || fs::path(path).is_absolute() || fs::exists(path, error)) return path;
  const fs::path folder = system::program_file().parent_path();
  if (folder.empty()) return path;
  for (const fs::path& root :
       {folder.parent_path(), folder.parent_path() / "share" / "zeroth", folder}) {
    if (fs::exists(root / path, error)) return (root / path).string();
  }
  return path;
}

}  // namespace zeroth

// Refusing what is no regular file, for paths that a file names.
#pragma once

#include <filesystem>

namespace zeroth {

// Throws Error when `path` leads to a pipe, a device or a socket: those block their reader or have
// no end. Links are followed; a missing file is left to whoever opens it.
void require_regular_file(const std::filesystem::path& path);

}  // namespace zeroth

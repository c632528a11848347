// Cutting files back without losing what is cut.
#pragma once

#include <cstdint>
#include <filesystem>

namespace zeroth {

// Shortens `path` to its first `keep` bytes. Unless `aside` is empty, what is cut off is first
// written to that folder under the file's own name, synced; a longer tail that stands there from an
// earlier cut stays. Does nothing when the file is missing or no longer than `keep`. A crash at any
// moment leaves every byte in one of the two files. Throws Error naming the file.
void cut_file(const std::filesystem::path& path, uint64_t keep,
              const std::filesystem::path& aside = {});

}  // namespace zeroth

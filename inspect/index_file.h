// Where the index of a run lives. A run folder may be a stranger's: a link, a pipe or another
// program's database under the index's name is never opened, written or removed.
#pragma once

#include <cstdint>
#include <filesystem>

namespace zeroth {

// SQLite's application_id of an index: "ZTRX". A file without it is not ours.
inline constexpr int32_t kIndexApplicationId = 0x5A545258;

// RUN/traces/index.sqlite when that folder is no link and may be written to, and the name is free
// or an index of ours; else a file in this user's cache folder ($XDG_CACHE_HOME/zeroth or
// ~/.cache/zeroth, and a private folder below the temporary one when there is neither). The folder
// of the path holds no link, as SQLite's NOFOLLOW wants it. Throws Error when no place can be had.
std::filesystem::path index_file(const std::filesystem::path& run_dir);

// Removes the database and what SQLite keeps beside it.
void remove_index(const std::filesystem::path& path);

}  // namespace zeroth

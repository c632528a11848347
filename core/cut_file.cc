#include "core/cut_file.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPiece = uint64_t{1} << 20;

void copy_tail(const fs::path& path, uint64_t from, const fs::path& to) {
  const fs::path temporary = to.string() + ".tmp";
  const MappedFile source(path);
  FileWriter writer(temporary);
  std::vector<std::byte> piece;
  for (uint64_t at = from; at < source.bytes().size(); at += piece.size()) {
    piece.resize(std::min<uint64_t>(kPiece, source.bytes().size() - at));
    source.read(at, piece);
    writer.write(piece.data(), piece.size());
  }
  writer.close();
  fs::rename(temporary, to);
  sync_path(to.parent_path());
}

}  // namespace

void cut_file(const fs::path& path, uint64_t keep, const fs::path& aside) {
  std::error_code missing;
  const uint64_t size = fs::file_size(path, missing);
  if (missing || size <= keep) return;
  try {
    if (!aside.empty()) {
      fs::create_directories(aside);
      const fs::path to = aside / path.filename();
      std::error_code none;
      const uint64_t held = fs::file_size(to, none);
      if (none || held < size - keep) copy_tail(path, keep, to);
    }
    fs::resize_file(path, keep);
  } catch (const fs::filesystem_error& error) {
    fail("cannot cut " + path.string() + " back to " + std::to_string(keep) +
             " bytes: " + error.code().message(),
         "free space on that disk, or choose a folder that you may write to");
  }
}

}  // namespace zeroth

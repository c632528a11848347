#include "inspect/index_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include "core/error.h"
#include "tasks/options.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 4> kParts = {"", "-wal", "-shm", "-journal"};

struct File {
  int fd;
  explicit File(const std::string& path)
      : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

bool is_regular(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool is_missing(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) != 0 && errno == ENOENT;
}

// True for an empty file, as another process has just made it, and for a database with our id.
bool is_ours(const std::string& path) {
  const File file(path);
  if (file.fd < 0) return false;
  std::array<unsigned char, 100> header{};
  const ssize_t n = ::pread(file.fd, header.data(), header.size(), 0);
  if (n == 0) return true;
  if (n < static_cast<ssize_t>(header.size())) return false;
  const std::string magic("SQLite format 3\0", 16);
  if (!std::equal(magic.begin(), magic.end(), header.begin())) return false;
  const uint32_t id = uint32_t{header[68]} << 24 | uint32_t{header[69]} << 16 |
                      uint32_t{header[70]} << 8 | uint32_t{header[71]};
  return id == static_cast<uint32_t>(kIndexApplicationId);
}

// A rollback journal can name a second one, which SQLite then opens and deletes. Ours never does.
bool journal_names_another(const std::string& path) {
  const File file(path);
  if (file.fd < 0) return false;
  constexpr std::array<unsigned char, 8> kMagic = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  std::array<unsigned char, 8> tail{};
  const off_t end = ::lseek(file.fd, 0, SEEK_END);
  return end >= 8 && ::pread(file.fd, tail.data(), 8, end - 8) == 8 && tail == kMagic;
}

// The names beside the database are free or plain files; the database is free or ours.
bool usable(const fs::path& path) {
  for (const char* part : kParts) {
    const std::string name = path.string() + part;
    if (!is_missing(name) && !is_regular(name)) return false;
  }
  if (journal_names_another(path.string() + "-journal")) return false;
  return is_missing(path.string()) || is_ours(path.string());
}

// A folder that only this user can write to, made when it is missing; empty when that cannot be.
fs::path private_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return {};
  struct stat info;
  const bool safe = ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
                    info.st_uid == ::geteuid() && (info.st_mode & 022) == 0 &&
                    ::access(path.c_str(), W_OK) == 0;
  return safe ? fs::canonical(path, error) : fs::path();
}

fs::path cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache != nullptr && cache[0] == '/') {
    if (const fs::path folder = private_folder(fs::path(cache) / "zeroth"); !folder.empty())
      return folder;
  }
  if (home != nullptr && home[0] == '/') {
    if (const fs::path folder = private_folder(fs::path(home) / ".cache" / "zeroth");
        !folder.empty())
      return folder;
  }
  const fs::path temporary = fs::temp_directory_path() / ("zeroth-" + std::to_string(::geteuid()));
  if (const fs::path folder = private_folder(temporary); !folder.empty()) return folder;
  fail("there is no place for the index of the traces: " + temporary.string() +
           " is not a folder of this user alone",
       "set XDG_CACHE_HOME to a folder that you may write to");
}

}  // namespace

fs::path index_file(const fs::path& run_dir) {
  const fs::path traces = run_dir / "traces";
  std::error_code error;
  const fs::path real = fs::canonical(traces, error);
  struct stat info;
  const bool plain = ::lstat(traces.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  if (plain && !error && ::access(traces.c_str(), W_OK) == 0) {
    if (const fs::path path = real / "index.sqlite"; usable(path)) return path;
  }
  const std::string name = "index-" + std::to_string(stable_hash(real.string())) + ".sqlite";
  const fs::path path = cache_folder() / name;
  if (!usable(path)) fail(path.string() + " is no index of traces", "delete or rename it");
  return path;
}

void remove_index(const fs::path& path) {
  for (const char* part : kParts) {
    std::error_code ignored;
    fs::remove(fs::path(path.string() + part), ignored);
  }
}

}  // namespace zeroth

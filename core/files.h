// Files: whole reads with a bound, atomic replacement, locks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace zeroth {

// Reads a whole file of at most `max_bytes`. Throws Error naming the path when it is missing,
// unreadable or larger.
std::string read_file(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 31);

// Replaces `path` by `content` so that a crash at any moment leaves the old file or the new one,
// never a mixture: written to a temporary name beside it, fsync, rename, fsync of the folder.
// Throws Error on a full or read-only disk.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);

// fsync of a file or a folder. Throws Error with the path.
void sync_path(const std::filesystem::path& path);

// A new file that is written in pieces; bytes count only after close(). Throws Error with path and
// errno text.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path, bool append = false);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void sync();   // fsync
  void close();  // fsync and close; throws on failure
  uint64_t size() const { return size_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

// A read-only memory map of a whole file. Throws Error with the path. Thread safe.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Copies bytes [offset, offset + out.size()) without mapping them: unlike those read through
  // bytes(), they never count as this process's memory. Throws Error when the file has shrunk.
  void read(uint64_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Holds `folder`/lock for the life of the object; a second process gets an Error that names the
// first one's pid.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

// Calls line(text, number) for each line of a text file (number from 1, without the line feed; a
// last line without one counts too). Lines over max_line bytes are an Error. Files ending in .gz
// are decompressed.
void for_each_line(const std::filesystem::path& path,
                   const std::function<void(std::string_view text, int64_t number)>& line,
                   size_t max_line = size_t{64} << 20);

}  // namespace zeroth

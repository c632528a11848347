#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "core/error.h"

namespace zeroth {
namespace {

[[noreturn]] void fail_errno(const std::string& action, const std::filesystem::path& path) {
  const int error = errno;
  std::string fix = "check that the path is right and that you may use it";
  if (error == ENOSPC || error == EDQUOT)
    fix = "free space on that disk, then start again; what was written before is kept";
  if (error == EROFS || error == EACCES) fix = "choose a folder that you may write to";
  fail("cannot " + action + " " + path.string() + ": " + std::strerror(error), fix);
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void write_all(int fd, const char* data, size_t bytes, const std::filesystem::path& path) {
  while (bytes > 0) {
    const ssize_t n = ::write(fd, data, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write", path);
    data += n;
    bytes -= static_cast<size_t>(n);
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_errno("open", path);
  struct stat info;
  if (::fstat(file.fd, &info) != 0) fail_errno("read", path);
  if (S_ISDIR(info.st_mode))
    fail("cannot read " + path.string() + ": it is a folder", "name a file");
  std::string content;
  const auto too_large = [&] {
    fail(path.string() + " is larger than " + std::to_string(max_bytes) + " bytes",
         "is it the right file?");
  };
  if (static_cast<uint64_t>(info.st_size) > max_bytes) too_large();
  content.reserve(static_cast<size_t>(info.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path);
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > max_bytes) too_large();
  }
}

void sync_path(const std::filesystem::path& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_errno("open", path);
  if (::fsync(file.fd) != 0) fail_errno("sync", path);
}

void write_file_atomic(const std::filesystem::path& path, std::string_view content) {
  std::filesystem::path temporary = path;
  temporary += ".tmp." + std::to_string(::getpid());
  try {
    FileWriter writer(temporary);
    writer.write(content);
    writer.close();
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_errno("rename a new file to", path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_path(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
}

FileWriter::FileWriter(const std::filesystem::path& path, bool append) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0644);
  if (fd_ < 0) fail_errno("create", path);
  if (append) {
    struct stat info;
    if (::fstat(fd_, &info) == 0) size_ = static_cast<uint64_t>(info.st_size);
  }
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void FileWriter::write(const void* data, size_t bytes) {
  write_all(fd_, static_cast<const char*>(data), bytes, path_);
  size_ += bytes;
}

void FileWriter::sync() {
  if (::fsync(fd_) != 0) fail_errno("sync", path_);
}

void FileWriter::close() {
  if (fd_ < 0) return;
  sync();
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail_errno("close", path_);
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_errno("open", path);
  struct stat info;
  if (::fstat(file.fd, &info) != 0) fail_errno("read", path);
  if (!S_ISREG(info.st_mode))
    fail("cannot map " + path.string() + ": it is not a regular file", "name a file");
  size_ = static_cast<size_t>(info.st_size);
  if (size_ > 0) {
    void* data = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (data == MAP_FAILED) fail_errno("map", path);
    data_ = static_cast<const std::byte*>(data);
  }
  fd_ = std::exchange(file.fd, -1);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
}

void MappedFile::read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path_);
    if (n == 0) {
      fail(path_.string() + " ends at byte " + std::to_string(offset) + " of " +
               std::to_string(size_),
           "it was cut while it was read: fetch it again");
    }
    offset += static_cast<uint64_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
}

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_errno("create", path);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    char owner[32] = {};
    const ssize_t n = ::pread(fd_, owner, sizeof(owner) - 1, 0);
    ::close(fd_);
    fd_ = -1;
    fail("another process" + (n > 0 ? " (pid " + std::string(owner) + ")" : std::string()) +
             " is using " + folder.string(),
         "wait for it to end, stop it, or choose another folder with --out");
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, pid.data(), pid.size(), 0) < 0)
    fail_errno("write", path);
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

// Cuts text that comes in pieces into lines.
class LineCutter {
 public:
  LineCutter(const std::filesystem::path& path,
             const std::function<void(std::string_view, int64_t)>& line, size_t max_line)
      : path_(path), line_(line), max_line_(max_line) {}

  void add(std::string_view rest) {
    while (!rest.empty()) {
      const size_t end = rest.find('\n');
      pending_.append(rest.substr(0, end));
      if (pending_.size() > max_line_) {
        fail(path_.string() + ":" + std::to_string(number_ + 1) + ": line is longer than " +
                 std::to_string(max_line_) + " bytes",
             "is it a text file with one record a line?");
      }
      if (end == std::string_view::npos) break;
      line_(pending_, ++number_);
      pending_.clear();
      rest.remove_prefix(end + 1);
    }
  }
  void finish() {
    if (!pending_.empty()) line_(pending_, ++number_);
  }

 private:
  const std::filesystem::path& path_;
  const std::function<void(std::string_view, int64_t)>& line_;
  const size_t max_line_;
  std::string pending_;
  int64_t number_ = 0;
};

[[noreturn]] void fail_cut_short(const std::filesystem::path& path) {
  fail("cannot read " + path.string() + ": it ends too early", "is the file cut short?");
}

// gzread passes plain files through, so one reader serves both.
void read_gzip_or_plain(const std::filesystem::path& path, LineCutter& lines) {
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) fail_errno("open", path);
  char buffer[1 << 16];
  for (;;) {
    const int n = gzread(file.get(), buffer, sizeof(buffer));
    if (n < 0) {
      int code = 0;
      fail("cannot read " + path.string() + ": " + gzerror(file.get(), &code),
           "is the file damaged or cut short?");
    }
    if (n == 0) break;
    lines.add({buffer, static_cast<size_t>(n)});
  }
  int code = Z_OK;
  gzerror(file.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END) fail_cut_short(path);
}

bool begins_as_zstd(int fd) {
  unsigned char magic[4] = {};
  return ::pread(fd, magic, sizeof magic, 0) == sizeof magic &&
         (magic[0] | magic[1] << 8 | magic[2] << 16 | uint32_t{magic[3]} << 24) == ZSTD_MAGICNUMBER;
}

void read_zstd(const std::filesystem::path& path, int fd, LineCutter& lines) {
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(),
                                                                  ZSTD_freeDStream);
  if (!stream) throw std::bad_alloc();
  std::string packed(ZSTD_DStreamInSize(), '\0'), text(ZSTD_DStreamOutSize(), '\0');
  size_t wanted = 0;  // 0 between two frames
  for (;;) {
    const ssize_t n = ::read(fd, packed.data(), packed.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path);
    if (n == 0) break;
    ZSTD_inBuffer in{packed.data(), static_cast<size_t>(n), 0};
    for (bool full = true; in.pos < in.size || full;) {
      ZSTD_outBuffer out{text.data(), text.size(), 0};
      const size_t before = in.pos;
      wanted = ZSTD_decompressStream(stream.get(), &out, &in);
      if (ZSTD_isError(wanted)) {
        fail("cannot read " + path.string() + ": " + ZSTD_getErrorName(wanted),
             "is the file damaged? Windows above 128 MiB (zstd --long=28 and more) are not read");
      }
      lines.add({text.data(), out.pos});
      full = out.pos == out.size;  // then the decoder holds more
      if (in.pos == before && out.pos == 0) break;
    }
  }
  if (wanted != 0) fail_cut_short(path);
}

}  // namespace

void for_each_line(const std::filesystem::path& path,
                   const std::function<void(std::string_view, int64_t)>& line, size_t max_line) {
  if (std::filesystem::is_directory(path))
    fail("cannot read " + path.string() + ": it is a folder", "name a file");
  LineCutter lines(path, line, max_line);
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) fail_errno("open", path);
  if (begins_as_zstd(file.fd)) {
    read_zstd(path, file.fd, lines);
  } else {
    read_gzip_or_plain(path, lines);
  }
  lines.finish();
}

}  // namespace zeroth

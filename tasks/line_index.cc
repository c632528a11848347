#include "tasks/line_index.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace zeroth {
namespace {

constexpr size_t kPiece = size_t{1} << 20;       // bytes that a scan reads at a time
constexpr size_t kFirstPiece = size_t{1} << 14;  // that one line reads at first
constexpr size_t kMaxLine = size_t{64} << 20;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

}  // namespace

LineIndex::LineIndex(int fd, std::string name) : fd_(fd), name_(std::move(name)) {
  if (fd_ < 0) fail_to("open", "check the path and its permissions");
}

LineIndex::~LineIndex() {
  if (fd_ >= 0) ::close(fd_);
}

void LineIndex::fail_to(const char* what, const char* how_to_fix) const {
  fail(std::string("cannot ") + what + " " + name_ + ": " + std::strerror(errno), how_to_fix);
}

void LineIndex::scan() {
  std::string piece(kPiece, '\0');
  int64_t offset = 0, line_begin = 0, number = 1;
  bool blank = true;  // so far
  const auto end_line = [&](int64_t end) {
    if (!blank && size_++ % kStride == 0) marks_.push_back({line_begin, number});
    line_begin = end + 1;
    ++number;
    blank = true;
  };
  for (;;) {
    const ssize_t got = ::pread(fd_, piece.data(), piece.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_to("read", "check the disk");
    if (got == 0) break;
    const char *at = piece.data(), *const end = at + got;
    while (at < end) {
      const void* found = std::memchr(at, '\n', static_cast<size_t>(end - at));
      const char* const stop = found ? static_cast<const char*>(found) : end;
      while (blank && at < stop) blank = is_blank(*at++);
      if (found) end_line(offset + (stop - piece.data()));
      at = found ? stop + 1 : end;
    }
    offset += got;
  }
  if (line_begin < offset) end_line(offset);
}

void LineIndex::append(std::string_view line) {
  if (size_ % kStride == 0)
    marks_.push_back({written_ + static_cast<int64_t>(pending_.size()), size_ + 1});
  ++size_;
  pending_ += line;
  pending_ += '\n';
  if (pending_.size() >= kPiece) flush();
}

void LineIndex::flush() {
  for (size_t done = 0; done < pending_.size();) {
    const ssize_t put = ::pwrite(fd_, pending_.data() + done, pending_.size() - done, written_);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail_to("write", "set TMPDIR to a folder on a disk with room");
    done += static_cast<size_t>(put);
    written_ += put;
  }
  pending_.clear();
}

LineIndex::Line LineIndex::line(int64_t index) const {
  const Mark& mark = marks_.at(static_cast<size_t>(index / kStride));
  int64_t passed = 0, offset = mark.offset;
  const int64_t wanted = index % kStride;
  Line line{"", mark.number};
  std::string text;
  for (size_t begin = 0;;) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) {  // the line goes on behind what was read
      text.erase(0, begin);
      begin = 0;
      if (text.size() > kMaxLine)
        fail(name_ + ":" + std::to_string(line.number) + ": a line of more than 64 MiB",
             "split the row");
      const size_t had = text.size();
      text.resize(had + std::max(kFirstPiece, had));
      ssize_t got;
      do {
        got = ::pread(fd_, text.data() + had, text.size() - had, offset);
      } while (got < 0 && errno == EINTR);
      if (got < 0) fail_to("read", "check the disk");
      text.resize(had + static_cast<size_t>(got));
      offset += got;
      if (got > 0) continue;
      if (text.empty())
        fail("cannot read " + name_ + ": it has shrunk", "leave it while it is read");
      text += '\n';  // the last line lacks it
      continue;
    }
    bool blank = true;
    for (size_t i = begin; blank && i < end; ++i) blank = is_blank(text[i]);
    if (!blank && passed++ == wanted) {
      line.text = text.substr(begin, end - begin);
      return line;
    }
    begin = end + 1;
    ++line.number;
  }
}

}  // namespace zeroth

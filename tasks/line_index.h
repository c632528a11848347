// The lines of a text file by their number, without keeping any of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

// Remembers where every 64th line begins: an eighth of a byte a line. Blank lines are none. Owns
// the file descriptor. Const methods are thread safe.
class LineIndex {
 public:
  static constexpr int64_t kStride = 64;

  // `name` is what messages call the file.
  LineIndex(int fd, std::string name);
  ~LineIndex();
  LineIndex(const LineIndex&) = delete;
  LineIndex& operator=(const LineIndex&) = delete;

  // Goes over what the file holds from its begin, once; memory does not grow with it. Throws Error
  // when it cannot be read.
  void scan();
  // Appends lines, each ended by a line feed, to a file that was empty. Throws Error when they
  // cannot be written.
  void append(std::string_view line);
  void flush();

  struct Line {
    std::string text;    // without the line feed
    int64_t number = 0;  // from 1, blank lines counted
  };
  int64_t size() const { return size_; }
  // Line 0 <= index < size(). Throws Error when the file has shrunk or the line is over 64 MiB.
  Line line(int64_t index) const;

 private:
  struct Mark {
    int64_t offset, number;
  };
  [[noreturn]] void fail_to(const char* what, const char* how_to_fix) const;

  int fd_;
  std::string name_;
  int64_t size_ = 0, written_ = 0;
  std::vector<Mark> marks_;
  std::string pending_;
};

}  // namespace zeroth

// Rows of large data files by their number, read when they are asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace zeroth {

// The rows of JSON Lines and Parquet files, one after another, as texts. Opening goes over the
// lines of a JSON Lines file (a gigabyte or two a second) and reads the description of a Parquet
// file. Memory stays below about 100 MB however large the files are: a row group of at most 65,536
// rows and 32 MiB is read whole and kept while there is room; a larger one is written once, when a
// row behind its first 1,024 is asked for, as JSON Lines into an unnamed file in $TMPDIR (or
// /var/tmp). Const methods are thread safe.
class RowStore {
 public:
  // Whether rows of all of these files can be read by number: plain .jsonl (not one JSON array) and
  // .parquet can, compressed lines and arrays cannot.
  static bool can_open(const std::vector<std::string>& files);
  // More than 200,000 rows as the Parquet files say, or 1 GiB of lines.
  static bool are_large(const std::vector<std::string>& files);

  // Throws Error when a file cannot be read.
  explicit RowStore(const std::vector<std::string>& files);
  ~RowStore();
  RowStore(const RowStore&) = delete;
  RowStore& operator=(const RowStore&) = delete;

  struct Row {
    std::string text;   // JSON
    std::string place;  // "FILE:LINE" or "FILE[INDEX]"
  };
  int64_t size() const;
  // Row 0 <= index < size().
  Row row(int64_t index) const;

 private:
  class File;
  class LinesFile;
  class GroupsFile;
  std::vector<std::unique_ptr<File>> files_;
  std::vector<int64_t> ends_;  // of each file's rows
};

}  // namespace zeroth

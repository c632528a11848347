// Rows of Parquet files, read by Apache Arrow in a module of its own (parquet/): Debian 12 has no
// Parquet library, so the program itself links none and works without the module.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

struct zeroth_parquet_file;

namespace zeroth {

// The module can be loaded: zeroth_parquet.so beside the program or in ../lib/zeroth.
bool has_parquet();

// An open file, of which nothing but its own description has been read. Used by one thread at a
// time.
class ParquetFile {
 public:
  // Throws Error when there is no module (with the fix) and when the file is no Parquet file.
  explicit ParquetFile(std::string path);
  ~ParquetFile();
  ParquetFile(const ParquetFile&) = delete;
  ParquetFile& operator=(const ParquetFile&) = delete;

  int64_t groups() const;  // row groups
  // Of group 0 <= group < groups(): its rows, and their bytes when uncompressed.
  int64_t rows(int64_t group) const;
  int64_t bytes(int64_t group) const;
  // Calls row(text) for the rows of a group in order until it returns false: each a JSON object of
  // the columns on one line, without the line feed. A page of each column is in memory at a time.
  // Throws Error when the file is damaged; what `row` throws comes through.
  void for_each_row(int64_t group, const std::function<bool(std::string_view text)>& row) const;

 private:
  std::string path_;
  zeroth_parquet_file* file_;
};

// Calls row(text, place) for every row of the file in order; `place` is "FILE[INDEX]", for errors.
void for_each_parquet_row(
    const std::string& path,
    const std::function<void(std::string_view text, const std::string& place)>& row);

}  // namespace zeroth

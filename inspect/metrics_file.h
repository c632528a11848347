// RUN/metrics.jsonl as columns, read while the run writes it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/json.h"

namespace zeroth {

// Not thread safe. Memory is bounded whatever the file holds: 32 million numbers (12 bytes each) of
// 4096 names in rows of up to 4 MiB. Lines that are no row, and what is over a bound, are left out.
class MetricsFile {
 public:
  // The numbers of one name: value i stands in row at[i]. Rows without it have no entry.
  struct Series {
    std::vector<uint32_t> at;
    std::vector<double> values;
  };

  // With `tail` only the last so many bytes are read, from the first row that begins in them.
  explicit MetricsFile(std::filesystem::path path, uint64_t tail = 0)
      : path_(std::move(path)), tail_(tail) {}
  // Reads what was appended. True when rows were added or the file was cut; blocks for the reading.
  bool refresh();
  // The step of every row, in the order of the file.
  const std::vector<int64_t>& steps() const { return steps_; }
  // "timing": {"name": 1} counts as timing/name.
  const std::map<std::string, Series>& series() const { return series_; }
  struct Alarm {
    int64_t step = 0;
    std::string name, message;
  };
  // What rang, in the order of the file; the first ten thousand.
  const std::vector<Alarm>& alarms() const { return alarms_; }
  // The last row as it stands in the file; null when there is none.
  const Json& last() const { return last_row_; }

 private:
  bool starts_over();
  // Takes the whole lines at the start of `content`, which begins at read_.
  bool take_lines(std::string& content);
  void add_row(const Json& row);
  // `messages`: {name: message} or anything else.
  void add_alarm(int64_t step, const Json& name, const Json& messages);
  void add_number(const std::string& name, const Json& value);

  std::filesystem::path path_;
  uint64_t tail_ = 0;
  std::vector<int64_t> steps_;
  std::map<std::string, Series> series_;
  std::vector<Alarm> alarms_;
  Json last_row_;
  uint64_t values_ = 0;
  uint64_t read_ = 0;
  std::string last_;  // the line that ends at read_, as it stands in the file
};

}  // namespace zeroth

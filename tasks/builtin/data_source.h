// Where a data task's problems come from: rows of files, all read at the begin or each when it is
// drawn.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "tasks/task.h"

namespace zeroth {

struct DataTaskOptions;

struct DataTaskRow {
  std::string prompt, id;
  std::vector<std::string> golds;
  Json meta;
  ProblemOrigin origin;
};

// Const methods are thread safe.
class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual int64_t size(Split split) const = 0;
  // Row 0 <= index < size(split): always the same one. Throws Error for a bad row that was not
  // known before.
  virtual std::shared_ptr<const DataTaskRow> row(Split split, int64_t index) const = 0;
  // Rows are read when they are drawn.
  virtual bool streams() const = 0;
  const std::vector<std::string>& notes() const { return notes_; }

 protected:
  std::vector<std::string> notes_;
};

// Streams as options.streaming says; throws Error where that is "on" and cannot be done.
std::unique_ptr<DataSource> open_data_source(const std::string& task,
                                             const DataTaskOptions& options);

// Rows of the files of options.path by number (tasks/row_store.h). Bad rows and rows of the other
// split are stood in for by the next row behind them, so every problem has a row though nobody has
// looked at all of them. The split is by the hash of the prompt as for files that are read whole:
// no prompt is in both. The grader is chosen from the first 1,000 rows, which are checked at once.
// A held-out file is read whole.
std::unique_ptr<DataSource> stream_data(const std::string& task, const DataTaskOptions& options);

// Makes rows of their JSON, and knows which are bad.
class DataRowMaker {
 public:
  explicit DataRowMaker(const DataTaskOptions& options) : options_(options) {}
  // Adds the assistant's turns that were cut to *cut (may be null). Throws Error naming the place
  // when the columns are not there.
  DataTaskRow row_of(const Json& json, const std::string& place, size_t* cut) const;
  // "number", "math" or "text", for rows whose options say auto.
  std::string grader_of(
      std::initializer_list<const std::vector<std::shared_ptr<DataTaskRow>>*> files) const;
  // What is wrong with the row's answers for this grader, with its place; empty when nothing is,
  // and then the row knows its grader.
  std::string gold_fault_of(DataTaskRow& row, const std::string& grader) const;

 private:
  const DataTaskOptions& options_;
};

// What bad rows there were.
class BadRows {
 public:
  void add(const std::string& message, const std::string& hint);
  // Of an Error's text, "message\n  fix: hint".
  void add(const std::string& what);
  size_t count() const { return count_; }
  const std::string& first() const { return first_; }
  // Throws Error that names the first and how many more there are.
  [[noreturn]] void fail_with_first() const;

 private:
  size_t count_ = 0;
  std::string first_, hint_;
};

// "1 row", "2 rows".
std::string counted(size_t n, const char* one, const char* many);

}  // namespace zeroth

// Rows of large files that are read as they are drawn.
#include <algorithm>
#include <unordered_set>

#include "tasks/builtin/data_rows.h"
#include "tasks/builtin/data_source.h"
#include "tasks/builtin/data_task.h"
#include "tasks/row_files.h"
#include "tasks/row_store.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

using Rows = std::vector<std::shared_ptr<DataTaskRow>>;

constexpr int64_t kFirstRows = 1000;      // that are looked at before training
constexpr int64_t kMostPassed = 100'000;  // rows in search of one that can stand in

std::string with_commas(int64_t n) {
  std::string text = std::to_string(n);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

class StreamedRows : public DataSource {
 public:
  StreamedRows(const std::string& task, const DataTaskOptions& options)
      : task_(task),
        options_(options),
        maker_(options),
        grader_(options.grader),
        only_held_out_(options.path == options.held_out_path),
        store_(row_files(options.path)) {
    if (!only_held_out_ && !options.held_out_path.empty()) read_held_out();
    look_at_first();
    for (const auto& row : held_out_) reserved_.insert(row->prompt);
    notes_.push_back("streaming " + with_commas(store_.size()) +
                     " rows: each is read when it is drawn, and a bad one or one of the other "
                     "split is stood in for by the next");
  }

  int64_t size(Split split) const override {
    if (split == Split::kTrain) return only_held_out_ ? 0 : store_.size();
    if (only_held_out_) return store_.size();
    if (!options_.held_out_path.empty()) return static_cast<int64_t>(held_out_.size());
    return store_.size() / options_.held_out_every;
  }

  std::shared_ptr<const DataTaskRow> row(Split split, int64_t index) const override {
    const bool held_out = split == Split::kHeldOut;
    if (held_out && !only_held_out_ && !options_.held_out_path.empty())
      return held_out_.at(static_cast<size_t>(index));
    const int64_t first = held_out && !only_held_out_ ? index * options_.held_out_every : index;
    const int64_t most = std::min(store_.size(), kMostPassed);
    for (int64_t passed = 0; passed < most; ++passed) {
      BadRows bad;
      auto row = row_at((first + passed) % store_.size(), bad);
      if (!row && options_.bad_rows == "error") bad.fail_with_first();
      if (row && belongs(*row, held_out)) return row;
    }
    fail("task " + task_ + ": none of the " + with_commas(most) + " rows from row " +
             with_commas(first + 1) + " on can be a " + (held_out ? "held-out" : "training") +
             " problem",
         "look at the file, or set streaming=off");
  }

  bool streams() const override { return true; }

 private:
  void read_held_out() {
    int64_t number = 0;
    for_each_row(options_.held_out_path, [&](const Json& json, const std::string& place) {
      ++number;
      try {
        held_out_.push_back(std::make_shared<DataTaskRow>(maker_.row_of(json, place, nullptr)));
        held_out_.back()->id = std::to_string(number);
      } catch (const Error& error) {
        bad_.add(error.what());
      }
    });
  }

  // Chooses the grader by the first rows, and finds what is wrong with those.
  void look_at_first() {
    Rows first;
    for (int64_t i = 0; i < std::min(store_.size(), kFirstRows); ++i) {
      if (auto row = unchecked_row_at(i, bad_)) first.push_back(std::move(row));
    }
    if (grader_ == "auto") {
      grader_ = maker_.grader_of({&held_out_, &first});
      notes_.push_back("grader " + grader_ + ", chosen from the reference answers of the first " +
                       counted(first.size(), "row", "rows") + "; grader=.. sets another");
    }
    const auto is_bad = [&](const std::shared_ptr<DataTaskRow>& row) { return !check(*row, bad_); };
    std::erase_if(held_out_, is_bad);
    std::erase_if(first, is_bad);
    if (bad_.count() == 0) return;
    if (options_.bad_rows == "error") bad_.fail_with_first();
    notes_.push_back(counted(bad_.count(), "row", "rows") +
                     " among the first left out as unusable, the first: " + bad_.first());
  }

  std::shared_ptr<DataTaskRow> unchecked_row_at(int64_t index, BadRows& bad) const {
    const RowStore::Row stored = store_.row(index);
    try {
      auto row = std::make_shared<DataTaskRow>(
          maker_.row_of(parse_row(stored.text, stored.place), stored.place, nullptr));
      row->id = std::to_string(index + 1);
      return row;
    } catch (const Error& error) {
      bad.add(error.what());
      return nullptr;
    }
  }

  bool check(DataTaskRow& row, BadRows& bad) const {
    const std::string fault = maker_.gold_fault_of(row, grader_);
    if (!fault.empty()) bad.add(fault, "use another grader (number, math, text), or fix the row");
    return fault.empty();
  }

  // Null for a bad row.
  std::shared_ptr<DataTaskRow> row_at(int64_t index, BadRows& bad) const {
    auto row = unchecked_row_at(index, bad);
    return row && check(*row, bad) ? row : nullptr;
  }

  bool belongs(const DataTaskRow& row, bool held_out) const {
    if (only_held_out_) return true;
    if (!options_.held_out_path.empty()) return !reserved_.contains(row.prompt);
    return is_held_out(row.prompt, options_.held_out_every) == held_out;
  }

  const std::string task_;
  const DataTaskOptions& options_;
  const DataRowMaker maker_;
  std::string grader_;
  const bool only_held_out_;  // the file is for evaluation alone
  const RowStore store_;
  Rows held_out_;                                  // of held_out_path
  std::unordered_set<std::string_view> reserved_;  // their prompts
  BadRows bad_;                                    // among the rows that were looked at
};

}  // namespace

std::unique_ptr<DataSource> stream_data(const std::string& task, const DataTaskOptions& options) {
  return std::make_unique<StreamedRows>(task, options);
}

}  // namespace zeroth

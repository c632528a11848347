#include "tasks/builtin/data_source.h"

#include <algorithm>
#include <set>

#include "rewards/format.h"
#include "tasks/builtin/data_rows.h"
#include "tasks/builtin/data_task.h"
#include "tasks/row_files.h"
#include "tasks/row_store.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

using Rows = std::vector<std::shared_ptr<DataTaskRow>>;

// Nothing but blanks, as a text or as the contents of chat messages.
bool is_blank(const Json& prompt) {
  if (prompt.is_string()) return trim(prompt.get_ref<const std::string&>()).empty();
  if (!prompt.is_array()) return false;
  return std::all_of(prompt.begin(), prompt.end(), [](const Json& message) {
    return message.is_object() && message.contains("content") && is_blank(message["content"]);
  });
}

// Reads both files, chooses the grader and sorts the rows; counts what is left out.
class KeptRows : public DataSource {
 public:
  KeptRows(const std::string& task, const DataTaskOptions& options)
      : options_(options), maker_(options), grader_(options.grader) {
    const size_t equals = options.filter.find('=');
    if (!options.filter.empty() && equals == std::string::npos)
      fail_usage("task " + task + ": filter \"" + options.filter + "\"", "write COLUMN=VALUE");
    Rows held_out, rows;
    if (!options.held_out_path.empty()) held_out = read(options.held_out_path);
    if (options.path != options.held_out_path) rows = read(options.path);
    if (grader_ == "auto") {
      grader_ = maker_.grader_of({&held_out, &rows});
      notes_.push_back("grader " + grader_ +
                       ", chosen from the reference answers; grader=.. sets another");
    }
    check_golds(held_out);
    check_golds(rows);
    if (bad_.count() > 0 && options.bad_rows == "error") bad_.fail_with_first();
    split(std::move(held_out), std::move(rows));
    note_counts();
  }

  int64_t size(Split split) const override {
    return static_cast<int64_t>(of_[split == Split::kHeldOut].size());
  }
  std::shared_ptr<const DataTaskRow> row(Split split, int64_t index) const override {
    return of_[split == Split::kHeldOut].at(static_cast<size_t>(index));
  }
  bool streams() const override { return false; }

 private:
  Rows read(const std::string& path);
  bool filtered_out(const Json& json) const;
  void check_golds(Rows& rows);
  void split(Rows held_out, Rows rows);
  void note_counts();

  const DataTaskOptions& options_;
  const DataRowMaker maker_;
  std::string grader_;
  Rows of_[2];  // by Split
  BadRows bad_;
  size_t filtered_ = 0, repeated_ = 0, cut_assistant_ = 0;
};

bool KeptRows::filtered_out(const Json& json) const {
  if (options_.filter.empty()) return false;
  const size_t equals = options_.filter.find('=');
  const Json* value = find_column(json, options_.filter.substr(0, equals));
  if (value == nullptr) return true;
  const std::string text = value->is_string() ? value->get<std::string>() : value->dump();
  return text != options_.filter.substr(equals + 1);
}

Rows KeptRows::read(const std::string& path) {
  Rows rows;
  int64_t number = 0;
  for_each_row(path, [&](const Json& json, const std::string& place) {
    ++number;
    if (filtered_out(json)) {
      ++filtered_;
      return;
    }
    try {
      rows.push_back(std::make_shared<DataTaskRow>(maker_.row_of(json, place, &cut_assistant_)));
      rows.back()->id = std::to_string(number);
    } catch (const Error& error) {
      bad_.add(error.what());
    }
  });
  return rows;
}

// Leaves out, or counts as errors, the rows with an answer that the grader cannot read.
void KeptRows::check_golds(Rows& rows) {
  std::erase_if(rows, [&](const std::shared_ptr<DataTaskRow>& row) {
    const std::string fault = maker_.gold_fault_of(*row, grader_);
    if (!fault.empty()) bad_.add(fault, "use another grader (number, math, text), or fix the row");
    return !fault.empty();
  });
}

void KeptRows::split(Rows held_out, Rows rows) {
  std::set<std::string_view> reserved;
  for (const auto& row : held_out) reserved.insert(row->prompt);
  for (auto& row : rows) {
    if (options_.held_out_path.empty()) {
      of_[is_held_out(row->prompt, options_.held_out_every)].push_back(std::move(row));
    } else if (!reserved.contains(row->prompt)) {
      of_[0].push_back(std::move(row));
    } else {
      ++repeated_;
    }
  }
  if (!options_.held_out_path.empty()) of_[1] = std::move(held_out);
}

void KeptRows::note_counts() {
  const size_t used = of_[0].size() + of_[1].size();
  const auto note = [&](const std::string& text) { notes_.push_back(text); };
  if (bad_.count() > 0)
    note(counted(bad_.count(), "row", "rows") + " of " +
         std::to_string(used + bad_.count() + repeated_ + filtered_) +
         " left out as unusable, the first: " + bad_.first());
  if (filtered_ > 0)
    note(counted(filtered_, "row", "rows") + " left out by filter " + options_.filter);
  if (repeated_ > 0)
    note(counted(repeated_, "training row", "training rows") +
         " left out because the prompt is held out");
  if (cut_assistant_ > 0)
    note("the assistant's turns of " + counted(cut_assistant_, "row", "rows") +
         " are not part of the prompt");
}

bool should_stream(const std::string& task, const DataTaskOptions& options) {
  if (options.streaming == "off") return false;
  const bool asked = options.streaming == "on";
  if (!options.filter.empty()) {
    if (asked)
      fail_usage("task " + task + ": filter with streaming=on",
                 "a filter has to look at every row: write the rows that it keeps into a file");
    return false;
  }
  const std::vector<std::string> files = row_files(options.path);
  const bool possible = RowStore::can_open(files);
  if (asked && !possible)
    fail_usage("task " + task + ": streaming=on, but rows of " + options.path +
                   " cannot be read by number",
               "write them as plain .jsonl or as .parquet");
  return asked || (possible && RowStore::are_large(files));
}

}  // namespace

DataTaskRow DataRowMaker::row_of(const Json& json, const std::string& place, size_t* cut) const {
  DataTaskRow row;
  row.origin = {place, "", false};
  DataRow read = read_data_row(json, options_.prompt_column, options_.answer_column, place);
  const Json* tools = find_column(json, "tools");
  row.prompt = read.prompt.is_array() ? options_.render_messages(
                                            read.prompt, tools != nullptr ? *tools : Json(), place)
                                      : options_.render(read.prompt.get<std::string>());
  row.golds = std::move(read.golds);
  if (cut != nullptr) *cut += read.cut_assistant;
  if (is_blank(read.prompt)) {
    row.origin.fault = "the prompt is empty";
    row.origin.unusable = true;
  }
  row.meta = json;
  for (const char* known : {"prompt", "question", "problem", "instruction", "answer", "grader"})
    row.meta.erase(known);
  if (row.golds.size() > 1) row.meta["golds"] = row.golds;
  return row;
}

std::string DataRowMaker::grader_of(std::initializer_list<const Rows*> files) const {
  std::vector<const std::string*> golds;
  for (const Rows* rows : files) {
    for (const auto& row : *rows) {
      for (const std::string& gold : row->golds) golds.push_back(&gold);
    }
  }
  return grader_for(golds);
}

std::string DataRowMaker::gold_fault_of(DataTaskRow& row, const std::string& grader) const {
  for (const std::string& gold : row.golds) {
    const std::string fault = gold_fault(grader, gold);
    if (!fault.empty()) return row.origin.place + ": " + fault + ": " + gold.substr(0, 80);
  }
  if (options_.grader == "auto") row.meta["grader"] = grader;
  return {};
}

void BadRows::add(const std::string& message, const std::string& hint) {
  if (count_++ > 0) return;
  first_ = message;
  hint_ = hint + (hint.empty() ? "" : ", or ") + "leave such rows out with bad_rows=drop";
}

void BadRows::add(const std::string& what) {
  const size_t fix = what.find("\n  fix: ");
  add(what.substr(0, fix), fix == std::string::npos ? "" : what.substr(fix + 8));
}

void BadRows::fail_with_first() const {
  const std::string more =
      count_ == 1 ? "" : " (and " + counted(count_ - 1, "more row", "more rows") + ")";
  fail(first_ + more, hint_);
}

std::string counted(size_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

std::unique_ptr<DataSource> open_data_source(const std::string& task,
                                             const DataTaskOptions& options) {
  if (should_stream(task, options)) return stream_data(task, options);
  return std::make_unique<KeptRows>(task, options);
}

}  // namespace zeroth

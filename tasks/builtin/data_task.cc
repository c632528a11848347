#include "tasks/builtin/data_task.h"

#include <algorithm>
#include <set>

#include "rewards/final_number.h"
#include "rewards/math/math_grader.h"
#include "tasks/builtin/data_rows.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

// Nothing but blanks, as a text or as the contents of chat messages.
bool is_blank(const Json& prompt) {
  if (prompt.is_string()) return trim(prompt.get_ref<const std::string&>()).empty();
  if (!prompt.is_array()) return false;
  return std::all_of(prompt.begin(), prompt.end(), [](const Json& message) {
    return message.is_object() && message.contains("content") && is_blank(message["content"]);
  });
}

// Folded for comparison: lower-case ASCII, runs of blanks as one, ends trimmed.
std::string folded(std::string_view text) {
  std::string out;
  for (const char c : trim(text)) {
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (blank && out.ends_with(' ')) continue;
    out += blank ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

Verdict check_text(std::string_view answer, std::string_view gold) {
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.info = Json::object();
  verdict.extracted = folded(answer.substr(0, 4096));
  if (verdict.extracted.empty()) {
    verdict.reason = Reason::kNoAnswer;
    return verdict;
  }
  verdict.score = answer.size() <= 4096 && verdict.extracted == folded(gold) ? 1 : 0;
  verdict.reason = verdict.score == 1 ? Reason::kCorrect : Reason::kWrong;
  return verdict;
}

// Read as any other answer: the gold's own text gets no shortcut, so that a gold which the grader
// does not understand shows.
Verdict check_math(std::string_view answer, std::string_view gold) {
  MathOptions options;
  options.verbatim = false;
  MathVerdict math = grade_math(gold, answer, options);
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.info = Json::object();
  verdict.score = math.score;
  verdict.reason = math.reason;
  verdict.extracted = std::move(math.extracted);
  return verdict;
}

std::string counted(size_t n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

}  // namespace

DataTask::DataTask(std::string name, DataTaskOptions options)
    : name_(std::move(name)), options_(std::move(options)) {
  options_.render("");
  if (options_.path.empty()) {
    fail_usage("task " + name_ + ": no path",
               "give the JSONL file, for example " + name_ + ":path=problems.jsonl");
  }
}

// Reads both files, chooses the grader and sorts the rows; counts what is left out.
class DataTask::Reader {
 public:
  Reader(const std::string& task, const DataTaskOptions& options) : options_(options) {
    grader_ = options.grader;
    const size_t equals = options.filter.find('=');
    if (!options.filter.empty() && equals == std::string::npos)
      fail_usage("task " + task + ": filter \"" + options.filter + "\"", "write COLUMN=VALUE");
  }

  Rows read_all() {
    std::vector<Row> held_out;
    if (!options_.held_out_path.empty()) held_out = read(options_.held_out_path);
    std::vector<Row> rows;
    if (options_.path != options_.held_out_path) rows = read(options_.path);
    choose_grader({&held_out, &rows});
    check_golds(held_out);
    check_golds(rows);
    if (bad_ > 0 && options_.bad_rows == "error") {
      const std::string more =
          bad_ == 1 ? "" : " (and " + counted(bad_ - 1, "more row", "more rows") + ")";
      fail(first_bad_ + more, first_hint_);
    }
    split(std::move(held_out), std::move(rows));
    note_counts();
    result_.grader = grader_;
    return std::move(result_);
  }

 private:
  std::vector<Row> read(const std::string& path);
  Row row_of(const Json& json, const std::string& place);
  bool filtered_out(const Json& json) const;
  void choose_grader(std::initializer_list<const std::vector<Row>*> files);
  void check_golds(std::vector<Row>& rows);
  void bad_row(const std::string& message, const std::string& hint);
  void split(std::vector<Row> held_out, std::vector<Row> rows);
  void note_counts();

  const DataTaskOptions& options_;
  std::string grader_;
  Rows result_;
  size_t filtered_ = 0, bad_ = 0, repeated_ = 0, cut_assistant_ = 0;
  std::string first_bad_, first_hint_;
};

void DataTask::Reader::bad_row(const std::string& message, const std::string& hint) {
  if (bad_++ > 0) return;
  first_bad_ = message;
  first_hint_ = hint + (hint.empty() ? "" : ", or ") + "leave such rows out with bad_rows=drop";
}

bool DataTask::Reader::filtered_out(const Json& json) const {
  if (options_.filter.empty()) return false;
  const size_t equals = options_.filter.find('=');
  const Json* value = find_column(json, options_.filter.substr(0, equals));
  if (value == nullptr) return true;
  const std::string text = value->is_string() ? value->get<std::string>() : value->dump();
  return text != options_.filter.substr(equals + 1);
}

DataTask::Row DataTask::Reader::row_of(const Json& json, const std::string& place) {
  Row row;
  row.origin = {place, "", false};
  DataRow read = read_data_row(json, options_.prompt_column, options_.answer_column, place);
  const Json* tools = find_column(json, "tools");
  row.prompt = read.prompt.is_array() ? options_.render_messages(
                                            read.prompt, tools != nullptr ? *tools : Json(), place)
                                      : options_.render(read.prompt.get<std::string>());
  row.golds = std::move(read.golds);
  cut_assistant_ += read.cut_assistant;
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

std::vector<DataTask::Row> DataTask::Reader::read(const std::string& path) {
  std::vector<Row> rows;
  int64_t number = 0;
  for_each_row(path, [&](const Json& json, const std::string& place) {
    ++number;
    if (filtered_out(json)) {
      ++filtered_;
      return;
    }
    try {
      rows.push_back(row_of(json, place));
      rows.back().id = std::to_string(number);
    } catch (const Error& error) {
      const std::string what = error.what();  // "message\n  fix: hint"
      const size_t fix = what.find("\n  fix: ");
      bad_row(what.substr(0, fix), fix == std::string::npos ? "" : what.substr(fix + 8));
    }
  });
  return rows;
}

void DataTask::Reader::choose_grader(std::initializer_list<const std::vector<Row>*> files) {
  if (grader_ != "auto") return;
  std::vector<const std::string*> golds;
  for (const std::vector<Row>* rows : files) {
    for (const Row& row : *rows) {
      for (const std::string& gold : row.golds) golds.push_back(&gold);
    }
  }
  grader_ = grader_for(golds);
  result_.notes.push_back("grader " + grader_ +
                          ", chosen from the reference answers; grader=.. sets another");
}

// Leaves out, or counts as errors, the rows with an answer that the grader cannot read.
void DataTask::Reader::check_golds(std::vector<Row>& rows) {
  std::vector<Row> kept;
  for (Row& row : rows) {
    std::string fault;
    const std::string* gold = nullptr;
    for (const std::string& one : row.golds) {
      if (!fault.empty()) break;
      fault = gold_fault(grader_, one);
      gold = &one;
    }
    if (fault.empty()) {
      if (options_.grader == "auto") row.meta["grader"] = grader_;
      kept.push_back(std::move(row));
    } else {
      bad_row(row.origin.place + ": " + fault + ": " + gold->substr(0, 80),
              "use another grader (number, math, text), or fix the row");
    }
  }
  rows = std::move(kept);
}

void DataTask::Reader::split(std::vector<Row> held_out, std::vector<Row> rows) {
  std::set<std::string> reserved;
  for (const Row& row : held_out) reserved.insert(row.prompt);
  result_.of[1] = std::move(held_out);
  for (Row& row : rows) {
    if (options_.held_out_path.empty()) {
      result_.of[is_held_out(row.prompt, options_.held_out_every)].push_back(std::move(row));
    } else if (!reserved.contains(row.prompt)) {
      result_.of[0].push_back(std::move(row));
    } else {
      ++repeated_;
    }
  }
}

void DataTask::Reader::note_counts() {
  const size_t used = result_.of[0].size() + result_.of[1].size();
  const auto note = [&](const std::string& text) { result_.notes.push_back(text); };
  if (bad_ > 0)
    note(counted(bad_, "row", "rows") + " of " +
         std::to_string(used + bad_ + repeated_ + filtered_) +
         " left out as unusable, the first: " + first_bad_);
  if (filtered_ > 0)
    note(counted(filtered_, "row", "rows") + " left out by filter " + options_.filter);
  if (repeated_ > 0)
    note(counted(repeated_, "training row", "training rows") +
         " left out because the prompt is held out");
  if (cut_assistant_ > 0)
    note("the assistant's turns of " + counted(cut_assistant_, "row", "rows") +
         " are not part of the prompt");
}

const DataTask::Rows& DataTask::rows() const {
  std::call_once(read_, [this] { rows_ = Reader(name_, options_).read_all(); });
  return rows_;
}

int64_t DataTask::size(Split split) const {
  return static_cast<int64_t>(rows().of[split == Split::kHeldOut].size());
}

Problem DataTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task " + name_ + ": problem " + std::to_string(index) + " of " +
         std::to_string(size(split)));
  }
  const Row& row = rows().of[split == Split::kHeldOut][static_cast<size_t>(index)];
  Problem problem;
  problem.task = name_;
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + row.id;
  problem.prompt = row.prompt;
  problem.answer = row.golds[0];
  problem.meta = row.meta;
  return problem;
}

ProblemOrigin DataTask::origin(Split split, int64_t index) const {
  return rows().of[split == Split::kHeldOut].at(static_cast<size_t>(index)).origin;
}

Verdict DataTask::check_answer(const Problem& problem, const std::string& grader,
                               const std::string& gold, std::string_view answer) const {
  if (grader == "math") return check_math(answer, gold);
  if (grader == "text") return check_text(answer, gold);
  // A question echoed as the answer is none, whatever number it happens to end with.
  constexpr size_t kEcho = 20;
  if (answer.size() >= kEcho && problem.prompt.find(answer) != std::string::npos)
    return check_final_number("", gold);
  return check_final_number(answer, gold);
}

// The verdict for the best of the reference answers.
Verdict DataTask::check_answers(const Problem& problem, std::string_view answer) const {
  std::vector<std::string> golds{problem.answer};
  std::string grader = options_.grader;
  if (problem.meta.is_object()) {
    const auto others = problem.meta.find("golds"), chosen = problem.meta.find("grader");
    if (others != problem.meta.end() && others->is_array()) {
      for (const Json& gold : *others) {
        if (gold.is_string() && gold != problem.answer) golds.push_back(gold.get<std::string>());
      }
    }
    if (grader == "auto" && chosen != problem.meta.end() && chosen->is_string())
      grader = chosen->get<std::string>();
  }
  if (grader == "auto") {  // a problem that another task made
    std::vector<const std::string*> all;
    for (const std::string& gold : golds) all.push_back(&gold);
    grader = grader_for(all);
  }
  Verdict best = check_answer(problem, grader, golds[0], answer);
  for (size_t i = 1; i < golds.size() && best.score < 1; ++i) {
    Verdict other = check_answer(problem, grader, golds[i], answer);
    if (other.score > best.score) best = std::move(other);
  }
  return best;
}

std::vector<Verdict> DataTask::grade(const Problem& problem, std::string_view completion,
                                     FinishReason finish) const {
  const ResponseParts parts = split_response(completion, options_.format_rules());
  const bool tagged = completion.find("<answer>") != std::string_view::npos;
  const bool in_tags =
      options_.answer_place == "tags" || (options_.answer_place == "auto" && tagged);
  // The answer of a response that thinks comes after its thinking.
  std::string_view text = completion;
  const size_t close = completion.rfind("</think>");
  if (close != std::string_view::npos) text.remove_prefix(close + 8);
  // Thinking that never ends, also a second one, came to no answer.
  const bool still_thinking =
      (parts.reason != Reason::kNone && !parts.think.empty() && !parts.think_closed) ||
      text.find("<think>") != std::string_view::npos;

  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.info = Json::object();
  if (in_tags ? parts.reason != Reason::kNone : still_thinking) {
    accuracy.reason = Reason::kNoAnswer;
    accuracy.info["error"] = parts.why;
  } else if (!in_tags && finish == FinishReason::kLength) {
    // The end of a cut text is whatever the limit hit.
    accuracy.reason = Reason::kTruncated;
  } else {
    accuracy = check_answers(problem, in_tags ? parts.answer : text);
  }
  if (accuracy.reason == Reason::kNoAnswer && finish == FinishReason::kLength)
    accuracy.reason = Reason::kTruncated;
  return options_.verdicts(std::move(accuracy), completion, finish);
}

std::string DataTask::gold_completion(const Problem& problem) const {
  return options_.wrap_answer(problem.answer);
}

}  // namespace zeroth

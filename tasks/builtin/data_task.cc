#include "tasks/builtin/data_task.h"

#include <algorithm>
#include <set>

#include "rewards/final_number.h"
#include "rewards/math/math_grader.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

// The value at "a.b.c", or nullptr.
const Json* find_column(const Json& row, std::string_view path) {
  const Json* at = &row;
  while (true) {
    const size_t dot = path.find('.');
    const std::string key(path.substr(0, dot));
    if (!at->is_object() || !at->contains(key)) return nullptr;
    at = &(*at)[key];
    if (dot == std::string_view::npos) return at;
    path.remove_prefix(dot + 1);
  }
}

// The named column, or the first of the usual ones that this row has.
const Json& column(const Json& row, const std::string& named,
                   std::initializer_list<const char*> usual, const char* what,
                   const std::string& place) {
  if (!named.empty()) {
    if (const Json* found = find_column(row, named)) return *found;
    fail(place + ": no column \"" + named + "\" for the " + what,
         "name another column, or fix the file");
  }
  std::string tried;
  for (const char* name : usual) {
    if (const Json* found = find_column(row, name)) return *found;
    tried += (tried.empty() ? "" : ", ") + std::string(name);
  }
  fail(place + ": no column for the " + what + " (looked for " + tried + ")",
       std::string("name it with ") +
           (std::string(what) == "answer" ? "answer_column" : "prompt_column"));
}

std::string scalar_text(const Json& value, const char* what, const std::string& place) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  // verl stores single answers as one-element lists at times.
  if (value.is_array() && value.size() == 1) return scalar_text(value[0], what, place);
  fail(place + ": the " + what + " is neither text nor a number: " + value.dump().substr(0, 80),
       "use text or a number");
}

// Nothing but blanks, as a text or as the contents of chat messages.
bool is_blank(const Json& prompt) {
  if (prompt.is_string()) return trim(prompt.get_ref<const std::string&>()).empty();
  if (!prompt.is_array()) return false;
  return std::all_of(prompt.begin(), prompt.end(), [](const Json& message) {
    return message.is_object() && message.contains("content") && is_blank(message["content"]);
  });
}

bool ends_with_answer(const Json& prompt) {
  if (!prompt.is_array() || prompt.empty() || !prompt.back().is_object()) return false;
  const auto role = prompt.back().find("role");
  return role != prompt.back().end() && *role == "assistant";
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

Verdict check_math(std::string_view answer, std::string_view gold) {
  MathVerdict math = grade_math(gold, answer);
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.info = Json::object();
  verdict.score = math.score;
  verdict.reason = math.reason;
  verdict.extracted = std::move(math.extracted);
  return verdict;
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

void DataTask::read_all() const {
  for (auto& rows : rows_) rows.clear();  // of an attempt that failed
  std::set<std::string> reserved;
  if (!options_.held_out_path.empty()) {
    read(options_.held_out_path, [&](Row row) {
      reserved.insert(row.prompt);
      rows_[1].push_back(std::move(row));
    });
  }
  read(options_.path, [&](Row row) {
    if (options_.held_out_path.empty()) {
      rows_[is_held_out(row.prompt, options_.held_out_every)].push_back(std::move(row));
    } else if (!reserved.contains(row.prompt)) {
      rows_[0].push_back(std::move(row));
    }
  });
}

void DataTask::read(const std::string& path, const std::function<void(Row)>& take) const {
  const size_t equals = options_.filter.find('=');
  if (!options_.filter.empty() && equals == std::string::npos) {
    fail_usage("task " + name_ + ": filter \"" + options_.filter + "\"", "write COLUMN=VALUE");
  }
  int64_t number = 0;
  for_each_row(path, [&](const Json& json, const std::string& place) {
    ++number;
    if (!options_.filter.empty()) {
      const Json* value = find_column(json, options_.filter.substr(0, equals));
      if (value == nullptr || (value->is_string() ? value->get<std::string>() : value->dump()) !=
                                  options_.filter.substr(equals + 1)) {
        return;
      }
    }
    Row row;
    row.id = std::to_string(number);
    const Json& prompt = column(json, options_.prompt_column,
                                {"prompt", "question", "problem", "instruction"}, "prompt", place);
    row.prompt = prompt.is_array() ? options_.render_messages(prompt, place)
                                   : options_.render(scalar_text(prompt, "prompt", place));
    row.origin = {place, "", false};
    if (is_blank(prompt)) {
      row.origin.fault = "the prompt is empty";
      row.origin.unusable = true;
    } else if (ends_with_answer(prompt)) {
      row.origin.fault = "the messages end with an assistant's turn, so the prompt holds an answer";
    }
    row.answer = scalar_text(column(json, options_.answer_column,
                                    {"reward_model.ground_truth", "answer", "ground_truth",
                                     "solution", "label", "target"},
                                    "answer", place),
                             "answer", place);
    if (options_.grader == "number" &&
        check_final_number("", row.answer).reason == Reason::kBadGold) {
      fail(place + ": the answer holds no number: " + row.answer.substr(0, 80),
           "use grader=math or grader=text, or fix the row");
    }
    row.meta = json;
    for (const char* known : {"prompt", "question", "problem", "instruction", "answer"})
      row.meta.erase(known);
    take(std::move(row));
  });
}

const std::vector<DataTask::Row>& DataTask::rows(Split split) const {
  std::call_once(read_, [this] { read_all(); });
  return rows_[split == Split::kHeldOut];
}

int64_t DataTask::size(Split split) const { return static_cast<int64_t>(rows(split).size()); }

Problem DataTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task " + name_ + ": problem " + std::to_string(index) + " of " +
         std::to_string(size(split)));
  }
  const Row& row = rows(split)[static_cast<size_t>(index)];
  Problem problem;
  problem.task = name_;
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + row.id;
  problem.prompt = row.prompt;
  problem.answer = row.answer;
  problem.meta = row.meta;
  return problem;
}

ProblemOrigin DataTask::origin(Split split, int64_t index) const {
  return rows_[split == Split::kHeldOut].at(static_cast<size_t>(index)).origin;
}

Verdict DataTask::check_answer(const Problem& problem, std::string_view answer) const {
  if (options_.grader == "math") return check_math(answer, problem.answer);
  if (options_.grader == "text") return check_text(answer, problem.answer);
  // A question echoed as the answer is none, whatever number it happens to end with.
  constexpr size_t kEcho = 20;
  if (answer.size() >= kEcho && problem.prompt.find(answer) != std::string::npos)
    return check_final_number("", problem.answer);
  return check_final_number(answer, problem.answer);
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
  const bool still_thinking =
      parts.reason != Reason::kNone && !parts.think.empty() && !parts.think_closed;

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
    accuracy = check_answer(problem, in_tags ? parts.answer : text);
  }
  if (accuracy.reason == Reason::kNoAnswer && finish == FinishReason::kLength)
    accuracy.reason = Reason::kTruncated;
  return options_.verdicts(std::move(accuracy), completion, finish);
}

std::string DataTask::gold_completion(const Problem& problem) const {
  return options_.wrap_answer(problem.answer);
}

}  // namespace zeroth

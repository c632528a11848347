#include "tasks/number_tasks.h"

#include <set>

#include "core/json_lines.h"
#include "rewards/final_number.h"

namespace zeroth {
namespace {

std::string text_of(const Json& row, const std::string& column, const std::string& place) {
  if (!row.is_object() || !row.contains(column)) {
    fail(place + ": no column \"" + column + "\"",
         "name the columns with prompt_column and answer_column");
  }
  const Json& value = row[column];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  fail(place + ": column \"" + column + "\" is neither text nor a number", "use text or a number");
}

}  // namespace

NumberTask::NumberTask(std::string name, NumberTaskOptions options)
    : name_(std::move(name)), options_(std::move(options)) {
  options_.render("");
  if (options_.path.empty()) {
    fail_usage("task " + name_ + ": no path",
               "give the JSONL file, for example " + name_ + ":path=problems.jsonl");
  }
  const bool gsm8k = name_ == "gsm8k";
  const std::string prompt = !options_.prompt_column.empty() ? options_.prompt_column
                             : gsm8k                         ? "question"
                                                             : "prompt";
  const std::string answer = !options_.answer_column.empty() ? options_.answer_column : "answer";
  const auto read = [&](const std::string& path, auto&& take) {
    for_each_json_line(path, [&](const Json& json, int64_t line) {
      const std::string place = path + ":" + std::to_string(line);
      Row row{text_of(json, prompt, place), text_of(json, answer, place), std::to_string(line)};
      if (check_final_number("", row.answer).reason == Reason::kBadGold) {
        fail(place + ": the answer holds no number: " + row.answer.substr(0, 80),
             "GSM8K answers end with \"#### n\"");
      }
      take(std::move(row));
    });
  };
  std::set<std::string> reserved;
  if (!options_.held_out_path.empty()) {
    read(options_.held_out_path, [&](Row row) {
      reserved.insert(row.question);
      rows_[1].push_back(std::move(row));
    });
  }
  read(options_.path, [&](Row row) {
    if (options_.held_out_path.empty()) {
      rows_[is_held_out(row.question, options_.held_out_every)].push_back(std::move(row));
    } else if (!reserved.contains(row.question)) {
      rows_[0].push_back(std::move(row));
    }
  });
}

int64_t NumberTask::size(Split split) const {
  return static_cast<int64_t>(rows_[split == Split::kHeldOut].size());
}

Problem NumberTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task " + name_ + ": problem " + std::to_string(index) + " of " +
         std::to_string(size(split)));
  }
  const Row& row = rows_[split == Split::kHeldOut][static_cast<size_t>(index)];
  Problem problem;
  problem.task = name_;
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + row.id;
  problem.prompt = options_.render(row.question);
  problem.answer = row.answer;
  problem.meta = Json::object();
  return problem;
}

std::vector<Verdict> NumberTask::grade(const Problem& problem, std::string_view completion,
                                       FinishReason finish) const {
  const FormatRules rules = options_.format_rules();
  const ResponseParts parts = split_response(completion, rules);
  const bool tagged = completion.find("<answer>") != std::string_view::npos;
  const bool in_tags =
      options_.answer_place == "tags" || (options_.answer_place == "auto" && tagged);
  Verdict accuracy;
  if (in_tags && parts.reason != Reason::kNone) {
    accuracy.name = "accuracy";
    accuracy.reason = parts.reason;
    accuracy.info = {{"error", parts.why}};
  } else if (!in_tags && finish == FinishReason::kLength) {
    // The last number of a cut text is whatever the limit hit.
    accuracy.name = "accuracy";
    accuracy.reason = Reason::kTruncated;
    accuracy.info = Json::object();
  } else {
    accuracy = check_final_number(in_tags ? parts.answer : completion, problem.answer);
  }
  if (accuracy.reason == Reason::kNoAnswer && finish == FinishReason::kLength)
    accuracy.reason = Reason::kTruncated;
  accuracy.weight = options_.accuracy_weight;
  add_thinking_facts(!trim(parts.think).empty(), accuracy.score == 1, accuracy.info);
  Verdict format = check_format(completion, rules, finish);
  format.weight = options_.format_weight;
  return {std::move(accuracy), std::move(format)};
}

}  // namespace zeroth

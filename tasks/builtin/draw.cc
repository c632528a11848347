#include "tasks/builtin/draw.h"

#include <algorithm>
#include <set>

#include "core/ascii.h"
#include "core/error.h"

namespace zeroth {
namespace {

constexpr size_t kMostColours = 16, kLongestName = 32, kMostPrompts = 1 << 20;

// Names stand in brackets, and between blanks in a prompt.
void check_name(const std::string& name, const char* field) {
  const bool plain = !name.empty() && name.size() <= kLongestName &&
                     name.find_first_of("[]<> \t\r\n") == std::string::npos;
  if (plain) return;
  fail_usage(std::string("task draw: ") + field + " has the name \"" + name + "\"",
             "use 1 to 32 letters without blanks and brackets");
}

// "[a][b]" as names; false when there is anything else.
bool read_cells(std::string_view text, std::vector<std::string_view>& out) {
  while (!text.empty()) {
    const size_t close = text.find(']');
    if (text.front() != '[' || close == std::string_view::npos) return false;
    out.push_back(text.substr(1, close - 1));
    text.remove_prefix(close + 1);
  }
  return true;
}

}  // namespace

DrawTask::DrawTask(DrawOptions options) : options_(std::move(options)) {
  const DrawOptions& o = options_;
  if (o.colours.empty() || o.colours.size() > kMostColours) {
    fail_usage("task draw: colours has " + std::to_string(o.colours.size()) + " names",
               "give 1 to " + std::to_string(kMostColours));
  }
  std::set<std::string> names = {o.blank};
  check_name(o.blank, "blank");
  for (const std::string& colour : o.colours) {
    check_name(colour, "colours");
    if (!names.insert(colour).second)
      fail_usage("task draw: the name \"" + colour + "\" is given twice", "give each one once");
  }
  if (o.score != "cells" && o.score != "all")
    fail_usage("task draw: score is \"" + o.score + "\"", "use cells or all");
  Order order;
  for (const bool column : {false, true}) {
    order.column = column;
    list(order, o.rows * o.columns);
  }
  if (train_.empty() || held_out_.empty()) {
    fail_usage("task draw: " + std::to_string(train_.size() + held_out_.size()) +
                   " prompts leave one split empty",
               "use more colours, longer runs, or another held_out_every");
  }
  for (std::vector<Order>* split : {&train_, &held_out_}) {
    std::stable_sort(split->begin(), split->end(), [&](const Order& a, const Order& b) {
      const auto key = [&](const Order& of) {
        return stable_hash(std::to_string(options_.seed) + " " + words(of));
      };
      return key(a) < key(b);
    });
  }
}

// All orders that begin with this one and have room.
void DrawTask::list(Order& order, int left) {
  if (!order.runs.empty()) {
    const bool held_out = is_held_out(words(order), options_.held_out_every);
    (held_out ? held_out_ : train_).push_back(order);
    if (train_.size() + held_out_.size() > kMostPrompts) {
      fail_usage("task draw: more than " + std::to_string(kMostPrompts) + " prompts",
                 "use fewer colours, shorter or fewer runs");
    }
  }
  if (static_cast<int>(order.runs.size()) == options_.runs) return;
  for (int cells = 1; cells <= std::min(left, options_.longest_run); ++cells) {
    for (int colour = 0; colour < static_cast<int>(options_.colours.size()); ++colour) {
      if (!order.runs.empty() && order.runs.back().colour == colour) continue;
      order.runs.push_back({cells, colour});
      list(order, left - cells);
      order.runs.pop_back();
    }
  }
}

std::string DrawTask::words(const Order& order) const {
  std::string text;
  for (const Run& run : order.runs)
    text += std::to_string(run.cells) + " " + options_.colours[run.colour] + " ";
  return text + (order.column ? "in a column" : "in a row");
}

std::vector<std::string> DrawTask::cells(const Order& order) const {
  const int rows = options_.rows, columns = options_.columns;
  std::vector<std::string> out(static_cast<size_t>(rows) * columns, options_.blank);
  int at = 0;
  for (const Run& run : order.runs) {
    for (int i = 0; i < run.cells; ++i, ++at)
      out[order.column ? at % rows * columns + at / rows : at] = options_.colours[run.colour];
  }
  return out;
}

int64_t DrawTask::size(Split split) const {
  return static_cast<int64_t>((split == Split::kTrain ? train_ : held_out_).size());
}

Problem DrawTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split))
    fail("task draw: problem " + std::to_string(index) + " does not exist");
  const bool held_out = split == Split::kHeldOut;
  const Order& order = (held_out ? held_out_ : train_)[static_cast<size_t>(index)];
  Problem problem;
  problem.task = name();
  problem.id = (held_out ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt = words(order) + options_.end;
  problem.meta = {{"rows", options_.rows}, {"columns", options_.columns}, {"cells", cells(order)}};
  problem.answer = gold_completion(problem);
  return problem;
}

std::vector<Verdict> DrawTask::grade(const Problem& problem, std::string_view completion,
                                     FinishReason finish) const {
  const Json& wanted = problem.meta.at("cells");
  const std::string_view text = trim(completion);
  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.weight = options_.accuracy_weight;
  accuracy.extracted = std::string(text.substr(0, 4096));
  std::vector<std::string_view> drawn;
  const bool readable = read_cells(text, drawn);
  double share = 0;
  bool whole = false;
  if (!readable || drawn.size() != wanted.size()) {
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated
                      : text.empty()                  ? Reason::kNoAnswer
                                                      : Reason::kParseError;
  } else {
    int64_t right = 0;
    for (size_t i = 0; i < drawn.size(); ++i)
      right += drawn[i] == wanted[i].get_ref<const std::string&>();
    share = static_cast<double>(right) / static_cast<double>(drawn.size());
    whole = right == static_cast<int64_t>(drawn.size());
    accuracy.score = options_.score == "all" ? whole : share;
    accuracy.reason = whole ? Reason::kCorrect : Reason::kWrong;
  }
  accuracy.info = {{"cells_right", share}, {"whole", whole ? 1 : 0}};
  return {std::move(accuracy)};
}

std::string DrawTask::gold_completion(const Problem& problem) const {
  std::string text;
  for (const Json& cell : problem.meta.at("cells"))
    text += "[" + cell.get_ref<const std::string&>() + "]";
  return text;
}

}  // namespace zeroth

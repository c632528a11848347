#include "rl/prompt_screen.h"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "core/error.h"
#include "core/parallel.h"
#include "rl/chat.h"

namespace zeroth {
namespace {

// Problems that are measured of one split: all rows of a file, the beginning of a mixture that
// never ends, a few of tasks that make their problems.
constexpr int64_t kMostRows = 4'000'000, kMixtureRows = 200'000, kMadeProblems = 256,
                  kPluginProblems = 16;
constexpr int64_t kChunk = 4096;
constexpr size_t kNamed = 5, kNamedInError = 20;
constexpr size_t kLongAnswer = 24;  // bytes; shorter ones stand in many a question by right

int64_t measured_problems(const Task& task, Split split) {
  const int64_t size = task.size(split);
  if (task.reads_rows()) return size <= kMostRows ? size : kMixtureRows;
  return std::min(size, task.grades_here() ? kMadeProblems : kPluginProblems);
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// A long answer anywhere in the prompt, or any at its end behind a sign that announces it.
bool holds_answer(const Problem& problem) {
  const std::string_view answer = trimmed(problem.answer);
  std::string_view prompt = trimmed(problem.prompt);
  if (answer.empty()) return false;
  if (answer.size() >= kLongAnswer && prompt.find(answer) != std::string_view::npos) return true;
  if (!prompt.ends_with(answer)) return false;
  prompt.remove_suffix(answer.size());
  prompt = trimmed(prompt);
  return !prompt.empty() && std::string_view("=:#>").find(prompt.back()) != std::string_view::npos;
}

struct Row {
  size_t tokens = 0;
  size_t prompt_hash = 0;
  std::string id;
  bool answer_inside = false;
  ProblemOrigin origin;
  bool of_file() const { return !origin.place.empty(); }
};

std::string place_of(const Task& task, Split split, int64_t index, const Row& row) {
  if (!row.origin.place.empty()) return row.origin.place;
  return std::string(split == Split::kTrain ? "training" : "held-out") + " problem " +
         std::to_string(index) + " of task " + task.name();
}

// Rows `first` to `first` + `count` - 1 of a split.
std::vector<Row> read_rows(const Task& task, const PromptEncoder& prompts, Split split,
                           int64_t first, int64_t count) {
  std::vector<Row> rows(count);
  const auto look = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Problem problem = task.problem(split, first + i);
      rows[i].tokens = encode_prompt(prompts, task, problem).size();
      rows[i].prompt_hash = std::hash<std::string>()(problem.prompt);
      rows[i].id = problem.id;
      rows[i].origin = task.origin(split, first + i);
      rows[i].answer_inside = rows[i].of_file() && holds_answer(problem);
    }
  };
  // A plug-in that makes the problems is asked for one after the other.
  task.grades_here() || task.reads_rows() ? parallel_for(count, 16, look) : look(0, count);
  return rows;
}

}  // namespace

// Of one split.
struct PromptScreen::Found {
  struct Finding {
    std::string id, text;
  };
  std::vector<Finding> bad, suspect;
  int64_t measured = 0, short_of_room = 0;  // distinct problems
  int64_t longest = 0;
  std::string longest_place;
  std::unordered_map<size_t, std::string> places;  // of the first row with a prompt

  void judge(const Row& row, const std::string& place, int64_t context, int64_t max_tokens);
};

void PromptScreen::Found::judge(const Row& row, const std::string& place, int64_t context,
                                int64_t max_tokens) {
  ++measured;
  const auto tokens = static_cast<int64_t>(row.tokens);
  const auto add = [&](std::vector<Finding>& to, const std::string& what) {
    to.push_back({row.id, place + ": " + what});
  };
  if (row.origin.unusable) return add(bad, row.origin.fault);
  if (tokens == 0) return add(bad, "the prompt is empty");
  if (tokens >= context) {
    return add(bad, "the prompt has " + std::to_string(tokens) +
                        " tokens, which leaves no room in the policy's context of " +
                        std::to_string(context));
  }
  if (tokens > longest) {
    longest = tokens;
    longest_place = place;
  }
  short_of_room += tokens + max_tokens > context;
  const auto [earlier, first_one] = places.emplace(row.prompt_hash, place);
  if (!row.origin.fault.empty()) {
    add(suspect, row.origin.fault);
  } else if (row.answer_inside) {
    add(suspect, "the prompt holds its own answer");
  } else if (row.of_file() && !first_one) {
    add(suspect, "the same prompt as " + earlier->second);
  }
}

PromptScreen::Found PromptScreen::measure(const Task& task, const PromptEncoder& prompts,
                                          Split split) const {
  Found found;
  const int64_t size = measured_problems(task, split);
  std::unordered_set<std::string> ids;  // a mixture repeats the problems of its smaller parts
  int stale_chunks = 0;                 // in a row, without a new row of a file
  for (int64_t first = 0; first < size && stale_chunks < 2; first += kChunk) {
    const auto rows = read_rows(task, prompts, split, first, std::min(kChunk, size - first));
    bool fresh = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      const Row& row = rows[i];
      if (!ids.insert(row.id).second) continue;
      fresh = fresh || row.of_file();
      found.judge(row, place_of(task, split, first + static_cast<int64_t>(i), row), context_,
                  max_tokens_);
    }
    stale_chunks = fresh ? 0 : stale_chunks + 1;
  }
  return found;
}

PromptScreen::PromptScreen(const Task& task, const PromptEncoder& prompts, int64_t context,
                           int64_t max_tokens, const DataConfig& config, std::optional<Split> only)
    : context_(context), max_tokens_(max_tokens) {
  std::vector<std::string> bad, suspect;
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    if (only && *only != split) continue;
    const Found found = measure(task, prompts, split);
    for (const Found::Finding& row : found.bad) {
      bad.push_back(row.text);
      left_out_.insert(row.id);
    }
    for (const Found::Finding& row : found.suspect) {
      suspect.push_back(row.text);
      if (config.on_suspect_row == "skip") left_out_.insert(row.id);
    }
    if (split == Split::kTrain && found.measured > 0 &&
        static_cast<int64_t>(left_out_.size()) == found.measured) {
      fail("no training prompt of task " + task.name() +
               " can be used; the first: " + (bad.empty() ? suspect : bad).front(),
           "look at the file, the task's template, and the policy's context of " +
               std::to_string(context) + " tokens");
    }
    if (found.short_of_room > 0) {
      lines_.push_back(
          std::to_string(found.short_of_room) + " of " + std::to_string(found.measured) +
          (split == Split::kTrain ? " training" : " held-out") + " prompts leave less than the " +
          std::to_string(max_tokens) + " tokens of a completion in the context of " +
          std::to_string(context) + "; the longest, " + found.longest_place + ", leaves " +
          std::to_string(context - found.longest));
    }
  }
  const auto report = [&](const std::vector<std::string>& texts, const std::string& action,
                          const std::string& what, const std::string& field,
                          const std::string& other) {
    if (texts.empty()) return;
    std::string list;
    const size_t named = std::min(texts.size(), action == "refuse" ? kNamedInError : kNamed);
    for (size_t i = 0; i < named; ++i) list += "\n  " + texts[i];
    if (named < texts.size()) list += "\n  and " + std::to_string(texts.size() - named) + " more";
    const std::string head = std::to_string(texts.size()) + " " + what;
    if (action == "refuse") fail(head + ":" + list, "mend them, or set " + field + "=" + other);
    lines_.push_back(head + (action == "skip" ? ", left out:" : ":") + list);
  };
  bad_ = static_cast<int64_t>(bad.size());
  suspect_ = static_cast<int64_t>(suspect.size());
  report(bad, config.on_bad_row, "rows cannot be sampled from", "data.on_bad_row", "skip");
  report(suspect, config.on_suspect_row, "rows look like mistakes", "data.on_suspect_row", "say");
}

bool PromptScreen::skips(const Problem& problem, const std::vector<TokenId>& prompt) const {
  return prompt.empty() || static_cast<int64_t>(prompt.size()) >= context_ ||
         left_out_.contains(problem.id);
}

}  // namespace zeroth

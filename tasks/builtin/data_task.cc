#include "tasks/builtin/data_task.h"

#include "rewards/final_number.h"
#include "rewards/math/math_grader.h"
#include "tasks/builtin/data_rows.h"

namespace zeroth {
namespace {

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

}  // namespace

DataTask::DataTask(std::string name, DataTaskOptions options)
    : name_(std::move(name)), options_(std::move(options)) {
  options_.render("");
  if (options_.path.empty()) {
    fail_usage("task " + name_ + ": no path",
               "give the JSONL file, for example " + name_ + ":path=problems.jsonl");
  }
}

DataTask::~DataTask() = default;

const DataSource& DataTask::source() const {
  std::call_once(read_, [this] { source_ = open_data_source(name_, options_); });
  return *source_;
}

int64_t DataTask::size(Split split) const { return source().size(split); }

Problem DataTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task " + name_ + ": problem " + std::to_string(index) + " of " +
         std::to_string(size(split)));
  }
  const auto row = source().row(split, index);
  Problem problem;
  problem.task = name_;
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + row->id;
  problem.prompt = row->prompt;
  problem.answer = row->golds[0];
  problem.meta = row->meta;
  return problem;
}

ProblemOrigin DataTask::origin(Split split, int64_t index) const {
  return source().row(split, index)->origin;
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

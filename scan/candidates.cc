#include "scan/candidates.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "rewards/final_number.h"
#include "rewards/format.h"
#include "scan/formula.h"
#include "tasks/builtin/countdown_trace.h"

namespace zeroth {
namespace {

// A trace may hold thousands of hostile markers; grading stops being useful long before this.
constexpr size_t kMaxCandidates = 512;
constexpr size_t kMaxAnswerBytes = 4096;

bool is_blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// Finds one text from places that only move forward, in time linear in all of them together.
class Forward {
 public:
  Forward(std::string_view text, std::string_view wanted) : text_(text), wanted_(wanted) {}
  // The first occurrence at or after `from`; the end of the text when there is none.
  size_t next(size_t from) {
    if (at_ < from || !looked_) at_ = std::min(text_.find(wanted_, from), text_.size());
    looked_ = true;
    return at_;
  }

 private:
  std::string_view text_, wanted_;
  size_t at_ = 0;
  bool looked_ = false;
};

// Ranges must be disjoint or end without a blank, so that trimming takes linear time in all.
void add(std::vector<Candidate>& out, CandidateKind kind, std::string_view text, size_t begin,
         size_t end) {
  if (out.size() >= kMaxCandidates) return;
  while (begin < end && is_blank(text[begin])) ++begin;
  while (end > begin && is_blank(text[end - 1])) --end;
  if (begin == end || end - begin > kMaxAnswerBytes) return;
  Candidate candidate;
  candidate.begin = static_cast<uint32_t>(begin);
  candidate.end = static_cast<uint32_t>(end);
  candidate.kind = kind;
  candidate.answer = text.substr(begin, end - begin);
  out.push_back(std::move(candidate));
}

// Reads the text once, however many tags it holds: a search that found nothing is not repeated.
void find_tags(std::string_view text, std::vector<Candidate>& out) {
  constexpr std::string_view kOpen = "<answer>";
  constexpr std::string_view kClose = "</answer>";
  Forward opens(text, kOpen);
  Forward closes(text, kClose);
  for (size_t at = opens.next(0); at < text.size(); at = opens.next(at + 1)) {
    const size_t begin = at + kOpen.size();
    // Generation may have stopped at the closing tag, which is then not part of the text.
    add(out, CandidateKind::kAnswerTag, text, begin,
        std::min(closes.next(begin), opens.next(begin)));
  }
}

// One pass: an opening brace waits on a stack for the closing one.
void find_boxed(std::string_view text, std::vector<Candidate>& out) {
  constexpr std::string_view kBox = "\\boxed";
  struct Open {
    size_t begin;
    bool box;
  };
  std::vector<Open> open;
  std::vector<std::pair<size_t, size_t>> found;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '{') {
      const bool box = at >= kBox.size() && text.substr(at - kBox.size(), kBox.size()) == kBox;
      // Braces outside of every box close none.
      if (box || !open.empty()) open.push_back({at + 1, box});
    } else if (text[at] == '}' && !open.empty()) {
      const Open last = open.back();
      open.pop_back();
      if (last.box && at - last.begin <= kMaxAnswerBytes) found.emplace_back(last.begin, at);
    }
  }
  std::sort(found.begin(), found.end());
  for (const auto& [begin, end] : found) add(out, CandidateKind::kBoxed, text, begin, end);
}

void find_markers(std::string_view text, std::vector<Candidate>& out) {
  Forward lines(text, "\n");
  std::optional<size_t> line;  // where the line ends, and where without its blanks
  size_t end = 0;
  for (size_t at = text.find("####"); at != text.npos; at = text.find("####", at + 4)) {
    if (const size_t next = lines.next(at); next != line) {
      line = end = next;
      while (end > at + 4 && is_blank(text[end - 1])) --end;
    }
    add(out, CandidateKind::kMarker, text, at + 4, std::max(end, at + 4));
  }
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

// Where the sentence that contains `at` ends: a line feed, or a full stop that is no decimal point.
size_t sentence_end(std::string_view text, size_t at) {
  for (; at < text.size(); ++at) {
    if (text[at] == '\n' || text[at] == '<') return at;
    if ((text[at] == '.' || text[at] == ';' || text[at] == '!') &&
        (at + 1 == text.size() || std::isspace(static_cast<unsigned char>(text[at + 1])))) {
      return at;
    }
  }
  return at;
}

// Sentences that name a result. Only for problems whose reference answer is a number, and the
// number is what is graded: free prose after "the answer is" would be no candidate that a checker
// can read.
void find_stated(std::string_view text, std::vector<Candidate>& out) {
  static constexpr std::string_view kPhrases[] = {
      "answer is",  "answer:",   "answer =",    "result is",  "total is",
      "that gives", "so we get", "which gives", "that makes", "final answer"};
  size_t done = 0;  // behind the last sentence that was looked at
  for (size_t at = 0; at < text.size(); ++at) {
    const char first = static_cast<char>(std::tolower(static_cast<unsigned char>(text[at])));
    if (std::string_view("artswf").find(first) == std::string_view::npos) continue;
    for (const std::string_view phrase : kPhrases) {
      if (at < done || !equal_ignoring_case(text.substr(at, phrase.size()), phrase)) continue;
      const size_t begin = at + phrase.size();
      const size_t end = sentence_end(text, begin);
      const auto number = find_final_number(text.substr(begin, end - begin), NumberPlace::kLast);
      // A sentence without a number behind one phrase has none behind a later one.
      done = end;
      if (!number) continue;
      add(out, CandidateKind::kStated, text, begin + number->begin, begin + number->end);
    }
  }
}

bool is_countdown(const Problem& problem) {
  const auto nums = problem.meta.find("nums");
  const auto target = problem.meta.find("target");
  return problem.meta.is_object() && nums != problem.meta.end() && nums->is_array() &&
         target != problem.meta.end() && target->is_number_integer() &&
         std::all_of(nums->begin(), nums->end(),
                     [](const Json& number) { return number.is_number_integer(); });
}

// Complete tries of the thinking. An abandoned one, which never came to a verdict and leaves
// numbers over, commits to nothing and is no candidate.
void find_tries(const Problem& problem, std::string_view text, std::vector<Candidate>& out) {
  const size_t open = text.find("<think>");
  const size_t begin = open == text.npos ? 0 : open + 7;
  const size_t end =
      std::min({text.find("</think>", begin), text.find("<answer>", begin), text.size()});
  const auto numbers = problem.meta.at("nums").get<std::vector<int64_t>>();
  const CountdownTrace trace = parse_countdown_trace(text.substr(begin, end - begin), numbers);
  for (const TraceTry& attempt : trace.tries) {
    if (attempt.steps == 0 || (!attempt.legal && attempt.verdict == TryVerdict::kMissing)) continue;
    const size_t had = out.size();
    add(out, CandidateKind::kTry, text, begin + attempt.begin, begin + attempt.end);
    if (out.size() == had) continue;
    out.back().answer = attempt.expression;
    // A formula that would be right but whose stated result is another number does not commit to
    // the right answer.
    const auto target = problem.meta.at("target").get<int64_t>();
    out.back().correct = attempt.hits(target) && attempt.claims(target);
  }
}

bool is_number(std::string_view text) {
  const auto number = find_final_number(text, NumberPlace::kLast);
  return number && number->end - number->begin == trim(text).size();
}

// The answer without what grading ignores.
std::string bare(std::string_view answer) {
  std::string out;
  for (const char c : answer) {
    if (!std::isspace(static_cast<unsigned char>(c))) out += c;
  }
  return out;
}

// True when two answers say the same: equal but for blanks, or the same formula.
bool same_answer(std::string_view a, std::string_view b) {
  if (bare(a) == bare(b)) return true;
  const auto left = canonical_formula(a);
  return left && left == canonical_formula(b);
}

const Verdict* accuracy_of(const std::vector<Verdict>& verdicts) {
  for (const Verdict& verdict : verdicts) {
    if (verdict.name == "accuracy") return &verdict;
  }
  return verdicts.empty() ? nullptr : &verdicts.front();
}

bool says_correct(const std::vector<Verdict>& verdicts) {
  const Verdict* accuracy = accuracy_of(verdicts);
  return accuracy != nullptr && accuracy->reason == Reason::kCorrect;
}

}  // namespace

const char* to_string(CandidateKind kind) {
  static constexpr const char* kNames[] = {"try", "answer", "boxed", "marker", "stated", "final"};
  return kNames[static_cast<int>(kind)];
}

const char* to_string(Flip flip) {
  static constexpr const char* kNames[] = {"W->R", "R->W", "R->R", "W->W"};
  return kNames[static_cast<int>(flip)];
}

// The first way of putting an answer that lets the task accept its reference answer; where the
// reference is no answer (Countdown's is the target), the first one in which the task finds an
// answer at all.
const CandidateGrader::Wrapper* CandidateGrader::wrapper() {
  if (looked_for_wrapper_) return wrapper_ ? &*wrapper_ : nullptr;
  looked_for_wrapper_ = true;
  if (task_ == nullptr || problem_.task != task_->name()) return nullptr;
  static const Wrapper kWrappers[] = {{"<think></think><answer>", "</answer>"},
                                      {"<think>.</think><answer>", "</answer>"},
                                      {"</think><answer>", "</answer>"},
                                      {".</think><answer>", "</answer>"},
                                      {"<answer>", "</answer>"},
                                      {"\\boxed{", "}"},
                                      {"#### ", ""},
                                      {"", ""}};
  const Wrapper* found = nullptr;
  for (const Wrapper& wrapper : kWrappers) {
    try {
      const auto verdicts = task_->grade(problem_, wrapper.before + problem_.answer + wrapper.after,
                                         FinishReason::kStop);
      const Verdict* accuracy = accuracy_of(verdicts);
      if (accuracy == nullptr) continue;
      if (accuracy->reason == Reason::kCorrect) {
        wrapper_ = wrapper;
        return &*wrapper_;
      }
      const bool read = accuracy->reason == Reason::kWrong || accuracy->reason == Reason::kIllegal;
      if (read && found == nullptr) found = &wrapper;
    } catch (const std::exception&) {
      return nullptr;  // a problem of another task or version: its traces can still be read
    }
  }
  if (found != nullptr) wrapper_ = *found;
  return found;
}

bool CandidateGrader::grade(const std::string& answer) {
  if (answer.empty()) return false;
  const auto [at, fresh] = grades_.try_emplace(answer, false);
  if (fresh) {
    if (const Wrapper* around = wrapper()) {
      at->second = says_correct(
          task_->grade(problem_, around->before + answer + around->after, FinishReason::kStop));
    }
  }
  return at->second;
}

std::vector<Candidate> CandidateGrader::find(const Sample& sample) {
  std::vector<Candidate> found;
  const std::string_view text = sample.text;
  if (is_countdown(problem_)) {
    find_tries(problem_, text, found);
  } else {
    find_boxed(text, found);
    find_markers(text, found);
    if (is_number(problem_.answer)) find_stated(text, found);
  }
  find_tags(text, found);
  std::stable_sort(found.begin(), found.end(),
                   [](const Candidate& a, const Candidate& b) { return a.begin < b.begin; });
  // "the answer is \boxed{7}" and "<answer>\boxed{7}</answer>" commit once: the first one stands
  // for both.
  std::vector<Candidate> candidates;
  for (Candidate& candidate : found) {
    if (!candidates.empty() && candidate.begin < candidates.back().end) continue;
    candidates.push_back(std::move(candidate));
  }
  const Verdict* accuracy = accuracy_of(sample.verdicts);
  if (candidates.empty() && accuracy != nullptr && !accuracy->extracted.empty() &&
      accuracy->extracted.size() <= kMaxAnswerBytes) {
    const size_t at = text.rfind(accuracy->extracted);
    if (at != text.npos) {
      add(candidates, CandidateKind::kFinal, text, at, at + accuracy->extracted.size());
    }
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    Candidate& candidate = candidates[i];
    if (candidate.kind != CandidateKind::kTry) {
      const bool decided = accuracy != nullptr && accuracy->extracted == candidate.answer;
      candidate.correct = decided ? says_correct(sample.verdicts) : grade(candidate.answer);
    }
    candidate.restated = i > 0 && candidate.kind != CandidateKind::kTry &&
                         candidate.correct == candidates[i - 1].correct &&
                         same_answer(candidate.answer, candidates[i - 1].answer);
  }
  return candidates;
}

std::vector<FlipAt> flips_of(const std::vector<Candidate>& candidates) {
  std::vector<FlipAt> flips;
  for (size_t i = 1; i < candidates.size(); ++i) {
    if (candidates[i].restated) continue;
    const bool was = candidates[i - 1].correct;
    const bool is = candidates[i].correct;
    const Flip flip = was ? (is ? Flip::kRightToRight : Flip::kRightToWrong)
                          : (is ? Flip::kWrongToRight : Flip::kWrongToWrong);
    flips.push_back({flip, i});
  }
  return flips;
}

}  // namespace zeroth

#include "rewards/math/boxes.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/ascii.h"
#include "rewards/math/clause.h"
#include "rewards/math/extract_parts.h"

namespace zeroth::math {

namespace {

constexpr size_t kNpos = std::string_view::npos;
constexpr size_t kMaxJoinedBoxes = 16;

struct Box {
  size_t begin = 0;  // of the command
  size_t end = 0;    // past the closing brace
  std::string_view content;
  bool closed = false;
};

using ascii::is_blank;
using ascii::is_letter;
using ascii::trim;

// The last \boxed or \fbox that begins before `limit`.
bool last_box(std::string_view text, size_t limit, Box* box) {
  if (limit == 0) return false;
  size_t boxed = text.rfind("\\boxed", limit - 1);
  // Only behind that box, so that a walk over many boxes stays linear.
  size_t from = boxed == kNpos ? 0 : boxed;
  size_t fbox = text.substr(from, limit - from).rfind("\\fbox");
  if (boxed == kNpos && fbox == kNpos) return false;
  size_t at = fbox == kNpos ? boxed : from + fbox;
  box->begin = at;
  size_t pos = at + (at == boxed ? 6 : 5);
  while (pos < text.size() && (text[pos] == ' ' || text[pos] == '\n')) ++pos;
  if (pos >= text.size() || text[pos] != '{') {  // \boxed 5: TeX takes the next token
    size_t end = pos;
    while (end < text.size() && text[end] != ' ' && text[end] != '\n' && text[end] != '$' &&
           text[end] != '}')
      ++end;
    box->content = text.substr(pos, end - pos);
    box->end = end;
    box->closed = end > pos;
    return true;
  }
  size_t end = matching_brace(text, pos);
  box->closed = end != kNpos;
  box->end = box->closed ? end + 1 : text.size();
  box->content = text.substr(pos + 1, (box->closed ? end : text.size()) - pos - 1);
  return true;
}

// Words that lead from one box to the next as from a step to its result.
constexpr auto kConclusions = std::to_array<std::string_view>(
    {"so",    "thus",   "therefore", "hence",    "then",   "gives", "giving", "get",
     "gets",  "obtain", "yields",    "finally",  "step",   "total", "answer", "response",
     "which", "making", "means",     "conclude", "result", "sum",   "now"});

// The words of a short text, in lower case.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!is_letter(text[i]) || (i > 0 && text[i - 1] == '\\')) continue;
    size_t begin = i;
    while (i < text.size() && is_letter(text[i])) ++i;
    words.push_back(lower_case(text.substr(begin, i - begin)));
  }
  return words;
}

// "m+n" in "$m+n=\boxed{7}$": what a box in a formula is said to be; empty without.
std::string_view label_of(std::string_view text, size_t box_begin) {
  std::string_view head = trim(text.substr(0, box_begin));
  if (!head.ends_with('=')) return {};
  head.remove_suffix(1);
  size_t begin = head.size();
  while (begin > 0 && head.size() - begin < 60 && head[begin - 1] != '$' &&
         head[begin - 1] != '\n' && head[begin - 1] != ',' && head[begin - 1] != '=' &&
         head[begin - 1] != '[' &&
         !(begin > 1 && head[begin - 2] == '\\' && head[begin - 1] == '('))
    --begin;
  return trim(head.substr(begin));
}

// A value made of others: "m+n", "\frac{a}{b}", "2x".
bool is_compound(std::string_view label) {
  return label.find_first_of("+*/^") != kNpos || label.find("\\frac") != kNpos ||
         label.find("\\cdot") != kNpos || (label.size() > 1 && label.find('-') != kNpos) ||
         (!label.empty() && label.front() >= '0' && label.front() <= '9');
}

// Two boxes are parts of one answer when they stand close together, or a separator joins them.
bool belong_together(std::string_view between, bool same) {
  const bool close = between.size() < 10;
  if (!close && (same || between.size() >= 70)) return false;
  if (!close && between.find("\n\n") != kNpos) return false;  // another paragraph, another step
  const std::vector<std::string> words = words_of(between);
  for (const std::string& word : words) {
    if (std::find(kConclusions.begin(), kConclusions.end(), word) != kConclusions.end())
      return false;
  }
  if (close || between.find_first_of(",;") != kNpos) return true;
  return std::find(words.begin(), words.end(), "and") != words.end() ||
         std::find(words.begin(), words.end(), "or") != words.end();
}

bool says_roughly(std::string_view between) {
  return between.size() < 30 &&
         (between.find("\\approx") != kNpos || between.find("\\sim") != kNpos ||
          between.find("\xE2\x89\x88") != kNpos);
}

// The text in front of a box denies what is in it: "it is not $\boxed{43}$", "x \ne \boxed{5}".
bool denied_before(std::string_view text, size_t begin) {
  std::string_view head = text.substr(0, begin);
  head = head.substr(head.size() - std::min<size_t>(head.size(), 80));
  while (!head.empty() && (is_blank(head.back()) || head.back() == '$' || head.back() == '*' ||
                           head.back() == '(' || head.back() == '[' || head.back() == '\\'))
    head.remove_suffix(1);
  return head.ends_with("\\ne") || head.ends_with("\\neq") || head.ends_with("\xE2\x89\xA0") ||
         denies(head);
}

// What follows a box, without the marks that close its formula.
std::string_view behind(std::string_view text, size_t end) {
  std::string_view rest = text.substr(end, 200);
  while (!rest.empty() &&
         (is_blank(rest.front()) || std::string_view("$*\\]).}").find(rest.front()) != kNpos)) {
    if (rest.starts_with("\\text") || rest.starts_with("\\quad")) break;
    rest.remove_prefix(1);
  }
  return rest;
}

}  // namespace

std::optional<std::string_view> last_box_content(std::string_view text) {
  Box box;
  if (!last_box(text, text.size(), &box)) return std::nullopt;
  return box.closed ? box.content : std::string_view();
}

bool boxed_answer(std::string_view text, bool gold, std::vector<Candidate>* out, size_t* end) {
  Box box;
  if (!last_box(text, text.size(), &box)) return false;
  *end = box.end;
  if (!box.closed) {
    if (gold) out->push_back({std::string(box.content), false});
    return true;
  }
  std::string_view content = trim(box.content);
  if (content.empty()) return true;
  if (!gold && (denied_before(text, box.begin) || takes_back(behind(text, box.end)))) {
    out->push_back({"not " + std::string(content), false, false, true});
    return true;
  }
  std::vector<std::string_view> parts{content};
  size_t first = box.begin, walked = 1;
  if (is_compound(label_of(text, box.begin))) walked = kMaxJoinedBoxes + 1;
  while (walked <= kMaxJoinedBoxes) {
    Box before;
    if (!last_box(text, first, &before) || !before.closed || before.end > first) break;
    content = trim(before.content);
    const std::string_view between = text.substr(before.end, first - before.end);
    const bool same = content == parts.back();
    if (says_roughly(between)) {
      parts.back() = content;  // the value in front of its rounding
    } else if (content.empty() || !belong_together(between, same)) {
      break;
    } else if (!same) {
      parts.push_back(content);
    }
    first = before.begin;
    ++walked;
  }
  if (walked > kMaxJoinedBoxes) parts.resize(1);  // noise, not parts of one answer
  std::string joined;
  for (auto it = parts.rbegin(); it != parts.rend(); ++it) {
    if (!joined.empty()) joined += ", ";
    joined += *it;
  }
  out->push_back({std::move(joined), false});
  return true;
}

}  // namespace zeroth::math

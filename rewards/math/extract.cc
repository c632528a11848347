#include "rewards/math/extract.h"

#include <algorithm>

#include "rewards/math/extract_parts.h"

namespace zeroth::math {

bool answer_region(std::string_view completion, AnswerFormat format, std::string_view* region) {
  size_t close = completion.rfind("</think>");
  size_t open = completion.rfind("<think>");
  bool closed = close != std::string_view::npos;
  if (closed && (open == std::string_view::npos || open < close)) {
    completion.remove_prefix(close + 8);
  } else {
    if (format == AnswerFormat::kThink) return false;
    // An open think block that starts the text never came to an answer.
    size_t first = completion.find_first_not_of(" \n\t\r");
    if (open != std::string_view::npos && (closed || open == first)) return false;
  }
  if (format == AnswerFormat::kAnswerTag) {
    size_t begin = completion.rfind("<answer>");
    if (begin == std::string_view::npos) return false;
    size_t end = completion.find("</answer>", begin);
    if (end == std::string_view::npos) return false;
    completion = completion.substr(begin + 8, end - begin - 8);
  }
  // Answer tags count without being asked for, unless a box follows them.
  if (format == AnswerFormat::kAuto) {
    size_t begin = completion.rfind("<answer>"), end = completion.rfind("</answer>");
    bool tagged = begin != std::string_view::npos && end != std::string_view::npos && begin < end;
    if (tagged && completion.find("\\boxed", end) == std::string_view::npos)
      completion = completion.substr(begin + 8, end - begin - 8);
  }
  *region = completion;
  return true;
}

namespace {

constexpr size_t kMaxJoinedBoxes = 16;

struct Box {
  size_t begin = 0;  // of the command
  size_t end = 0;    // past the closing brace
  std::string_view content;
  bool closed = false;
};

// The last \boxed or \fbox that begins before `limit`.
bool last_box(std::string_view text, size_t limit, Box* box) {
  if (limit == 0) return false;
  size_t boxed = text.rfind("\\boxed", limit - 1);
  // Only behind that box, so that a walk over many boxes stays linear.
  size_t from = boxed == std::string_view::npos ? 0 : boxed;
  size_t fbox = text.substr(from, limit - from).rfind("\\fbox");
  if (boxed == std::string_view::npos && fbox == std::string_view::npos) return false;
  size_t at = fbox == std::string_view::npos ? boxed : from + fbox;
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
  box->closed = end != std::string_view::npos;
  box->end = box->closed ? end + 1 : text.size();
  box->content = text.substr(pos + 1, (box->closed ? end : text.size()) - pos - 1);
  return true;
}

// Two boxes are parts of one answer when they stand close together, or a separator joins them.
bool belong_together(std::string_view between, bool same) {
  if (between.size() < 10) return true;
  if (same || between.size() >= 70) return false;
  if (between.find_first_of(",;") != std::string_view::npos) return true;
  for (std::string_view word : {"and", "or"}) {
    for (size_t at = between.find(word); at != std::string_view::npos;
         at = between.find(word, at + 1)) {
      auto letter = [&](size_t i) {
        return i < between.size() && ((between[i] | 32) >= 'a' && (between[i] | 32) <= 'z');
      };
      if ((at == 0 || !letter(at - 1)) && !letter(at + word.size())) return true;
    }
  }
  return false;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

// The answer in boxes. An unterminated last box is no answer: earlier ones were not meant as the
// last word.
bool boxed_answer(std::string_view text, bool lenient, std::vector<Candidate>* out) {
  Box box;
  if (!last_box(text, text.size(), &box)) return false;
  if (!box.closed) {
    if (lenient) out->push_back({std::string(box.content), false});
    return true;
  }
  std::vector<std::string_view> parts{trimmed(box.content)};
  size_t first = box.begin, walked = 1;
  while (walked <= kMaxJoinedBoxes) {
    Box before;
    if (!last_box(text, first, &before) || !before.closed || before.end > first) break;
    std::string_view content = trimmed(before.content);
    bool same = content == parts.back();
    if (!belong_together(text.substr(before.end, first - before.end), same)) break;
    if (!same) parts.push_back(content);
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

bool has_target(const std::vector<MathTarget>& targets, MathTarget::Kind kind) {
  if (targets.empty()) return kind != MathTarget::Kind::kString;
  return std::any_of(targets.begin(), targets.end(),
                     [&](const MathTarget& t) { return t.kind == kind; });
}

// Text without formulas: as a whole when it is short, and its last number.
void bare_candidates(std::string_view region, bool expr, std::vector<Candidate>* out) {
  std::string_view text = trimmed(region);
  bool latex = text.find('\\') != std::string_view::npos;
  if (text.size() <= 400 && (latex || count_words(text) < 4)) {
    out->push_back({std::string(text), false, true});
  }
  if (expr) {
    for (std::string& number : last_numbers(region)) out->push_back({std::move(number), true});
  }
  if (out->empty() && text.size() <= 400) out->push_back({std::string(text), false});
}

}  // namespace

std::vector<Candidate> find_candidates(std::string_view region,
                                       const std::vector<MathTarget>& targets, bool gold) {
  bool latex = has_target(targets, MathTarget::Kind::kLatex),
       expr = has_target(targets, MathTarget::Kind::kExpr);
  std::vector<Candidate> out;
  if (latex && boxed_answer(region, gold, &out)) return out;
  std::vector<Formula> formulas;
  if (latex) formulas = find_formulas(region);
  if (gold) {
    bool marked = region.find_first_of("$") != std::string_view::npos || !formulas.empty();
    if (!marked || only_separators_outside(region, formulas)) {
      out.push_back({without_delimiters(region), !latex});
      return out;
    }
  }
  anchored_candidates(region, formulas, expr, &out);
  if (!out.empty()) return out;
  if (!formulas.empty()) {
    size_t end = formulas.back().end;
    // A number after the last formula is nearer to the end.
    if (expr) {
      std::string_view rest = region.substr(end);
      if (count_digits(rest) > 0) {
        for (std::string& number : last_numbers(rest)) out.push_back({std::move(number), true});
      }
    }
    out.push_back({joined_formulas(region, formulas, last_main_formula(region, formulas)), false});
    return out;
  }
  if (!latex) {
    for (std::string& number : last_numbers(region)) out.push_back({std::move(number), true});
    return out;
  }
  if (!targets.empty() && !expr) return out;  // formulas only, and there is none
  bare_candidates(region, expr, &out);
  return out;
}

std::string find_string(std::string_view region, const std::vector<std::string>& words) {
  auto boundary = [&](size_t i) {
    return i >= region.size() ||
           std::string_view(" \n\t.,:*").find(region[i]) != std::string_view::npos;
  };
  auto match_at = [&](size_t i) -> std::string {
    for (const std::string& word : words) {
      if (region.substr(i).starts_with(word) && boundary(i + word.size())) return word;
    }
    return {};
  };
  auto starts_word = [&](size_t i) {
    return i == 0 || region[i - 1] == ' ' || region[i - 1] == '\n' || region[i - 1] == '*';
  };
  size_t answer = find_last_ignoring_case(region, "answer");
  if (answer != std::string_view::npos) {
    for (size_t i = answer + 6; i < std::min(region.size(), answer + 60); ++i) {
      std::string word = starts_word(i) ? match_at(i) : std::string();
      if (!word.empty()) return word;
    }
  }
  if (std::string word = match_at(0); !word.empty()) return word;
  for (size_t i = region.size(); i-- > 0;) {
    std::string word = starts_word(i) ? match_at(i) : std::string();
    if (!word.empty()) return word;
  }
  return {};
}

}  // namespace zeroth::math

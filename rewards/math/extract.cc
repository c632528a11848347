#include "rewards/math/extract.h"

#include <algorithm>

#include "rewards/math/boxes.h"
#include "rewards/math/clause.h"
#include "rewards/math/extract_parts.h"
#include "rewards/math/unicode.h"

namespace zeroth::math {

namespace {

constexpr size_t kNpos = std::string_view::npos;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

bool has_target(const std::vector<MathTarget>& targets, MathTarget::Kind kind) {
  if (targets.empty()) return kind != MathTarget::Kind::kString;
  return std::any_of(targets.begin(), targets.end(),
                     [&](const MathTarget& t) { return t.kind == kind; });
}

// "(A) 5 (B) 6 (C) 7": the options handed back.
bool lists_options(std::string_view text) {
  int marks = 0;
  for (size_t at = text.find('('); at != kNpos && marks < 3; at = text.find('(', at + 1)) {
    if (at + 2 >= text.size() || text[at + 2] != ')') continue;
    const char letter = text[at + 1];
    marks += letter == static_cast<char>('A' + marks) || letter == static_cast<char>('a' + marks);
  }
  return marks >= 2;
}

// Numbers and nothing else, on several lines or side by side: no single answer among them.
bool only_numbers(std::string_view text) {
  return count_digits(text) > 0 && text.find_first_not_of("0123456789., \n-/;") == kNpos;
}

// Text without formulas: as a whole when it is short, and its last number.
void bare_candidates(std::string_view region, bool expr, std::vector<Candidate>* out) {
  std::string_view text = trimmed(region);
  bool latex = false;  // "\\$29" is money
  for (size_t at = text.find('\\'); at != kNpos && !latex; at = text.find('\\', at + 1))
    latex = at + 1 < text.size() && text[at + 1] != '$' && text[at + 1] != '%';
  const bool brief = text.size() <= 400;
  if (brief && lists_options(text)) {
    out->push_back({std::string(text), false, false, true});
    return;
  }
  if (brief && only_numbers(text)) {
    std::string list(text);
    for (char& c : list) c = c == '\n' ? ';' : c;
    out->push_back({std::move(list), false, true});
    return;
  }
  std::string_view clause = brief ? answer_clause(text) : text;
  if (brief && clause.size() < text.size() && !takes_back(text.substr(clause.size())) &&
      denies(clause.substr(0, clause.find_first_of("0123456789$\\")))) {
    // "Not 30, so it is 31.", "It isn't 29 or 30 but 31."
    std::string_view rest = trimmed(text.substr(clause.size()));
    while (!rest.empty() && (rest.front() == ',' || rest.front() == ';' || rest.front() == '.'))
      rest = trimmed(rest.substr(1));
    if (rest.starts_with("but ")) rest.remove_prefix(4);
    if (count_digits(clause) > 0 && count_digits(rest) > 0) {
      text = rest;
      clause = answer_clause(text);
    }
  }
  if (brief && clause.size() < text.size() && takes_back(text.substr(clause.size()))) {
    out->push_back({"not " + std::string(clause), false, false, true});
    return;
  }
  if (brief && (latex || count_words(clause) < 4))
    out->push_back({std::string(clause), false, true});
  if (expr) push_last_number(brief ? clause : region, out);
  if (out->empty() && brief) out->push_back({std::string(text), false});
}

}  // namespace

std::string_view without_broken_bytes(std::string_view text, std::string* copy) {
  const auto harmless = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 ? byte < 0x7F : byte >= '\a' && byte <= '\r';
  };
  if (std::all_of(text.begin(), text.end(), harmless)) return text;
  *copy = valid_utf8(text, kBroken);
  return *copy;
}

namespace {

// A gold with its work: "5*3=15 ..\n#### 15", ".. Therefore, the answer is: 150.", "['3']".
bool gold_with_work(std::string_view gold, const std::vector<Formula>& formulas,
                    std::vector<Candidate>* out) {
  const std::string_view text = trimmed(gold);
  const bool quoted = text.size() > 4 && (text.starts_with("['") || text.starts_with("[\"")) &&
                      (text.ends_with("']") || text.ends_with("\"]"));
  if (quoted) {  // a list as Python prints it
    std::string inner(text.substr(1, text.size() - 2));
    std::erase(inner, inner.front() == '\'' ? '\'' : '"');
    out->push_back({std::move(inner), false});
    return true;
  }
  const bool worked = text.find("####") != kNpos || text.find('\n') != kNpos ||
                      count_words(text) >= 4 || find_last_ignoring_case(text, "answer") != kNpos;
  if (worked) {
    const size_t line = answer_line(text);
    if (line != kNpos) {
      std::string_view value = trimmed(text.substr(line));
      value = value.substr(0, value.find('\n'));
      prose_numbers(answer_clause(value), out);
      if (!out->empty()) return true;
    }
    anchored_candidates(text, formulas, true, out);
    if (!out->empty()) return true;
  }
  return false;
}

}  // namespace

std::vector<Candidate> find_candidates(std::string_view region,
                                       const std::vector<MathTarget>& targets, bool gold) {
  bool latex = has_target(targets, MathTarget::Kind::kLatex),
       expr = has_target(targets, MathTarget::Kind::kExpr);
  std::vector<Candidate> out;
  size_t behind = 0;
  if (latex && boxed_answer(region, gold, &out, &behind)) {
    // "We have \boxed{v=3} here.\n\nAnswer: D": a line that names itself the answer is the last
    // word.
    const std::string_view rest = region.substr(behind);
    const size_t line = gold || out.empty() ? kNpos : answer_line(rest);
    if (line == kNpos) return out;
    std::vector<Candidate> later;
    anchored_candidates(rest, find_formulas(rest), true, &later);
    return later.empty() ? out : later;
  }
  std::vector<Formula> formulas;
  if (latex) formulas = find_formulas(region);
  if (gold) {
    bool marked = region.find_first_of("$") != kNpos || !formulas.empty();
    const bool plain = !marked || only_separators_outside(region, formulas);
    if (plain && formulas.empty() && gold_with_work(region, formulas, &out)) return out;
    if (plain) {
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
      if (count_digits(rest) > 0) push_last_number(rest, &out);
    }
    const size_t last = last_main_formula(region, formulas);
    std::string joined = joined_formulas(region, formulas, last);
    const std::string_view before = region.substr(0, formulas[last].begin);
    if (denies(before.substr(before.size() - std::min<size_t>(before.size(), 80))) ||
        takes_back(region.substr(formulas[last].end))) {
      out.clear();
      out.push_back({"not " + joined, false, false, true});
      return out;
    }
    out.push_back({std::move(joined), false});
    return out;
  }
  if (!latex) {
    push_last_number(region, &out);
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

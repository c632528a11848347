#include "rewards/math/extract_parts.h"

#include <algorithm>
#include <cstring>

#include "core/ascii.h"

namespace zeroth::math {

namespace {

constexpr size_t kNpos = std::string_view::npos;

using ascii::is_blank;
using ascii::is_digit;
using ascii::is_letter;
using ascii::starts_ignoring_case;
using ascii::trim;

// A search whose position only grows, so that all calls together read the text once.
class Finder {
 public:
  Finder(std::string_view text, std::string_view needle) : text_(text), needle_(needle) {}
  size_t at_or_after(size_t pos) {
    if (known_ == kNpos && searched_) return kNpos;
    if (!searched_ || known_ < pos) {
      known_ = text_.find(needle_, pos);
      searched_ = true;
    }
    return known_;
  }

 private:
  std::string_view text_, needle_;
  size_t known_ = 0;
  bool searched_ = false;
};

}  // namespace

size_t matching_brace(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i;
    }
  }
  return kNpos;
}

std::vector<Formula> find_formulas(std::string_view text) {
  std::vector<Formula> out;
  Finder double_dollar(text, "$$"), dollar(text, "$"), newline(text, "\n"), bracket(text, "\\]"),
      paren(text, "\\)"), slash(text, "\\"), next_dollar(text, "$");
  size_t pos = 0;
  auto take = [&](size_t inner, size_t close, size_t width) {
    out.push_back({pos, close + width, text.substr(inner, close - inner)});
    pos = close + width;
  };
  while (pos < text.size()) {
    pos = std::min(slash.at_or_after(pos), next_dollar.at_or_after(pos));
    if (pos == kNpos) break;
    if (text[pos] == '\\') {
      char next = pos + 1 < text.size() ? text[pos + 1] : '\0';
      size_t close = next == '['   ? bracket.at_or_after(pos + 2)
                     : next == '(' ? paren.at_or_after(pos + 2)
                                   : kNpos;
      if (close != kNpos && close > pos + 2) {
        take(pos + 2, close, 2);
      } else {
        pos += 2;  // also passes an escaped dollar
      }
      continue;
    }
    if (text.substr(pos).starts_with("$$")) {
      size_t close = double_dollar.at_or_after(pos + 2);
      if (close != kNpos && close > pos + 2) {
        take(pos + 2, close, 2);
      } else {
        pos += 2;
      }
      continue;
    }
    // $..$ stays on one line, and "10$" is money.
    size_t close = dollar.at_or_after(pos + 1);
    while (close != kNpos && text[close - 1] == '\\') close = dollar.at_or_after(close + 1);
    size_t line = newline.at_or_after(pos + 1);
    bool money = pos > 0 && is_digit(text[pos - 1]);
    if (close != kNpos && close > pos + 1 && !(line != kNpos && line < close) && !money) {
      take(pos + 1, close, 1);
    } else {
      ++pos;
    }
  }
  return out;
}

std::string joined_formulas(std::string_view text, const std::vector<Formula>& formulas,
                            size_t last) {
  size_t first = last;
  while (first > 0 && last - first < 5) {
    std::string_view between =
        trim(text.substr(formulas[first - 1].end, formulas[first].begin - formulas[first - 1].end));
    bool joins = between == "," || between == "and" || between == "or" || between == ", and" ||
                 between == ",and" || between == ", or" || between == ";";
    if (!joins) break;
    --first;
  }
  std::string out;
  for (size_t i = first; i <= last; ++i) {
    if (!out.empty()) out += ", ";
    out += formulas[i].content;
  }
  return out;
}

size_t last_main_formula(std::string_view text, const std::vector<Formula>& formulas) {
  size_t last = formulas.size() - 1;
  while (last > 0) {
    std::string_view between =
        text.substr(formulas[last - 1].end, formulas[last].begin - formulas[last - 1].end);
    if (between.size() > 40 || between.find_first_of(".\n") != kNpos) break;
    between = trim(between);
    if (between.starts_with(",")) between = trim(between.substr(1));
    bool clause = false;
    for (std::string_view word : {"for ", "where", "when ", "if ", "whenever ", "with "})
      clause |= between.starts_with(word);
    if (!clause) break;
    --last;
  }
  return last;
}

bool only_separators_outside(std::string_view text, const std::vector<Formula>& formulas) {
  size_t pos = 0;
  auto harmless = [](std::string_view part) {
    part = trim(part);
    if (part.size() > 30) return false;
    size_t letters = static_cast<size_t>(std::count_if(part.begin(), part.end(), is_letter));
    size_t conjunction = part.find("and") != kNpos ? 3 : part.find("or") != kNpos ? 2 : 0;
    return letters <= conjunction;
  };
  for (const Formula& f : formulas) {
    if (!harmless(text.substr(pos, f.begin - pos))) return false;
    pos = f.end;
  }
  std::string_view rest = text.substr(pos);
  return formulas.empty() ? rest.size() < 400 : harmless(rest);
}

std::string without_delimiters(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '\\' && i + 1 < text.size()) {
      char next = text[i + 1];
      if (next == '[' || next == ']' || next == '(' || next == ')') {
        out += ' ';
        ++i;
        continue;
      }
      out += c;
      out += next;
      ++i;
      continue;
    }
    if (c != '$') out += c;
  }
  return out;
}

size_t find_last_ignoring_case(std::string_view text, std::string_view lower_word, size_t from) {
  if (text.size() < lower_word.size()) return kNpos;
  size_t at = std::min(from, text.size() - lower_word.size());
  while (true) {
    if (starts_ignoring_case(text, at, lower_word)) return at;
    if (at == 0) return kNpos;
    --at;
  }
}

namespace {

// Where the arithmetic expression begins whose last digit stands before `end`.
size_t expression_begin(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && text[begin - 1] != '\0' &&
         (is_digit(text[begin - 1]) || std::strchr(".,+-*/^() %", text[begin - 1]) != nullptr)) {
    const bool sentence =
        text[begin - 1] == ' ' && begin >= 2 && (text[begin - 2] == ',' || text[begin - 2] == '.');
    if (sentence) break;
    --begin;
  }
  return begin;
}

// Past the digits, brackets and percent signs behind `end`.
size_t expression_end(std::string_view text, size_t end) {
  while (end < text.size() && (text[end] == ')' || text[end] == '%' || is_digit(text[end]))) ++end;
  return end;
}

// Without signs before it that begin no number.
std::string_view without_leading_signs(std::string_view run) {
  while (!run.empty() && std::strchr("+*/^),.% ", run.front()) != nullptr &&
         !(run.front() == '.' && run.size() > 1 && is_digit(run[1])))
    run.remove_prefix(1);
  return run;
}

// The last number of an expression, with its sign when that is no difference.
std::string_view last_number_of(std::string_view run) {
  size_t begin = run.size();
  while (begin > 0 && !is_digit(run[begin - 1])) --begin;
  while (begin > 0 && (is_digit(run[begin - 1]) || run[begin - 1] == '.' || run[begin - 1] == ','))
    --begin;
  if (begin > 0 && run[begin - 1] == '-' && (begin == 1 || !is_digit(run[begin - 2]))) --begin;
  std::string_view number = run.substr(begin);
  while (number.starts_with(',') || number.starts_with(' ')) number.remove_prefix(1);
  return number;
}

// "XDY2K" names something: a number stands behind a blank, "=", "*", a currency sign or the like.
bool may_stand_before_number(char c) {
  return is_blank(c) || static_cast<unsigned char>(c) >= 0x80 ||
         std::string_view("=$:*[{'").find(c) != std::string_view::npos;
}

}  // namespace

std::vector<std::string> last_numbers(std::string_view text, size_t* place) {
  size_t end = text.size();
  while (true) {
    while (end > 0 && !is_digit(text[end - 1])) --end;
    if (end == 0) return {};
    const size_t begin = expression_begin(text, end);
    const std::string_view run =
        without_leading_signs(trim(text.substr(begin, expression_end(text, end) - begin)));
    const auto run_begin = static_cast<size_t>(run.data() - text.data());
    // Next to bytes that are no text it is a part of something else.
    if (text.substr(0, begin).ends_with(kBroken) ||
        text.substr(run_begin + run.size()).starts_with(kBroken))
      return {};
    if (begin > 0 && run_begin == begin && !may_stand_before_number(text[begin - 1])) {
      end = begin;
      continue;
    }
    *place = run_begin;
    std::vector<std::string> out{std::string(run)};
    const std::string_view number = last_number_of(run);
    if (number != run && !number.empty()) out.emplace_back(number);
    return out;
  }
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 32);
  }
  return out;
}

int count_words(std::string_view text) {
  int words = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      while (i + 1 < text.size() && is_letter(text[i + 1])) ++i;
      continue;
    }
    size_t begin = i;
    while (i < text.size() && is_letter(text[i])) ++i;
    if (i - begin >= 3) ++words;
  }
  return words;
}

int count_digits(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), is_digit));
}

}  // namespace zeroth::math

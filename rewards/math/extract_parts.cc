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

std::vector<std::string> last_numbers(std::string_view text, size_t* place) {
  auto in_expression = [](char c) {
    return is_digit(c) || std::strchr(".,+-*/^() %", c) != nullptr;
  };
  size_t end = text.size();
  while (end > 0) {
    while (end > 0 && !is_digit(text[end - 1])) --end;
    if (end == 0) return {};
    size_t stop = end;  // past the expression
    while (stop < text.size() && text[stop] != '\0' &&
           (text[stop] == ')' || text[stop] == '%' || is_digit(text[stop])))
      ++stop;
    size_t begin = end - 1;
    while (begin > 0 && text[begin - 1] != '\0' && in_expression(text[begin - 1])) {
      if (text[begin - 1] == ' ' && begin >= 2 &&
          (text[begin - 2] == ',' || text[begin - 2] == '.'))
        break;
      --begin;
    }
    std::string_view run = trim(text.substr(begin, stop - begin));
    while (!run.empty() && std::strchr("+*/^),.% ", run.front()) != nullptr &&
           !(run.front() == '.' && run.size() > 1 && is_digit(run[1]))) {
      run.remove_prefix(1);
    }
    size_t tail = run.size();  // start of the last number
    while (tail > 0 && !is_digit(run[tail - 1])) --tail;
    while (tail > 0 && (is_digit(run[tail - 1]) || run[tail - 1] == '.' || run[tail - 1] == ','))
      --tail;
    if (tail > 0 && run[tail - 1] == '-' && (tail == 1 || !is_digit(run[tail - 2]))) --tail;
    std::string_view number = run.substr(tail);
    // "XDY2K" names something: a number stands after a blank, "=", "*" or a currency sign.
    char before = begin > 0 ? text[begin - 1] : ' ';
    bool free = begin == 0 || run.data() > text.data() + begin || is_blank(before) ||
                before == '=' || before == '$' || static_cast<unsigned char>(before) >= 0x80 ||
                before == ':' || before == '*' || before == '[' || before == '{' || before == '\'';
    // Next to bytes that are no text it is a part of something else.
    const size_t behind = static_cast<size_t>(run.data() - text.data()) + run.size();
    if (text.substr(0, begin).ends_with(kBroken) || text.substr(behind).starts_with(kBroken))
      return {};
    if (!free) {
      if (begin == 0) return {};
      end = begin;
      continue;
    }
    *place = static_cast<size_t>(run.data() - text.data());
    std::vector<std::string> out{std::string(run)};
    while (!number.empty() && (number.front() == ',' || number.front() == ' '))
      number.remove_prefix(1);
    if (number != run && !number.empty()) out.emplace_back(number);
    return out;
  }
  return {};
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

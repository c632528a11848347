// Other scripts, and decimals that recur.
#include <algorithm>
#include <array>
#include <cstdlib>

#include "rewards/math/lexer_class.h"

namespace zeroth::math {

namespace {

// Ideographs, kana and hangul: scripts of words, whose letters name no variables.
bool is_word_script(uint32_t code) {
  return (code >= 0x3040 && code <= 0x30FF) || (code >= 0x3400 && code <= 0x9FFF) ||
         (code >= 0xAC00 && code <= 0xD7AF);
}

bool is_letter_script(uint32_t code) {  // Cyrillic, Arabic, Devanagari
  return (code >= 0x400 && code <= 0x4FF) || (code >= 0x600 && code <= 0x6FF) ||
         (code >= 0x900 && code <= 0x97F);
}

struct Joiner {
  std::string_view name;
  char ch;
};
// "or" and "and", with their code points.
constexpr auto kJoiners = std::to_array<Joiner>({
    {"u+6216u+8005", 'o'},
    {"u+6216", 'o'},  // huo zhe, huo
    {"u+5e76u+4e14", '&'},
    {"u+4ee5u+53ca", '&'},  // bing qie, yi ji
    {"u+548c", '&'},
    {"u+4e0e", '&'},  // he, yu
    {"u+53ca", '&'},
    {"u+4e14", '&'},  // ji, qie
    {"u+307eu+305fu+306f", 'o'},
    {"u+3068", '&'},  // mata wa, to
    {"u+b610u+b294", 'o'},
    {"u+438u+43bu+438", 'o'},  // ttoneun, ili
});

// Words that make another value of the one beside them: not, at least, at most, less, more, half.
constexpr auto kChangers = std::to_array<std::string_view>(
    {"u+4e0d", "u+975e", "u+81f3u+5c11", "u+81f3u+591a", "u+6700u+591a", "u+6700u+5c11",
     "u+5c0fu+4e8e", "u+5927u+4e8e", "u+8d85u+8fc7", "u+5c11u+4e8e", "u+591au+4e8e", "u+4ee5u+4e0a",
     "u+4ee5u+4e0b", "u+4e00u+534a"});

bool is_counting(std::string_view name) {  // wan, yi, qian, bai
  return name == "u+4e07" || name == "u+4ebf" || name == "u+5343" || name == "u+767e";
}

}  // namespace

// The character at the cursor as "u+4eba"; the cursor moves past it.
std::string Lexer::foreign_run() {
  size_t end = source_.find('\x02', pos_);
  if (end == std::string_view::npos) end = source_.size() - 1;
  std::string name = "u+" + std::string(source_.substr(pos_ + 1, end - pos_ - 1));
  pos_ = end + 1;
  return name;
}

// Letters of a script of words run together; any other character is a symbol of its own.
void Lexer::foreign() {
  const auto code = [&] {
    return peek() == '\x01'
               ? static_cast<uint32_t>(std::strtoul(source_.data() + pos_ + 1, nullptr, 16))
               : 0u;
  };
  const bool words = is_word_script(code());
  std::string run = foreign_run();
  if (!words && !(is_letter_script(code()) && is_letter_script(static_cast<uint32_t>(
                                                  std::strtoul(run.c_str() + 2, nullptr, 16))))) {
    push(Kind::kLetter, 0, std::move(run));
    return;
  }
  while (words ? is_word_script(code()) : is_letter_script(code())) run += foreign_run();
  for (const Joiner& joiner : kJoiners) {
    // A conjunction between values; inside longer words it is a part of them.
    if (run == joiner.name) {
      push(Kind::kSeparator, joiner.ch);
      return;
    }
  }
  if ((run == "u+8d1f" || run == "u+8ca0") && is_digit(peek())) {  // fu: minus
    push(Kind::kOperator, '-');
    return;
  }
  const std::string first = run.substr(0, run.find('u', 1));
  if (last_is(Kind::kNumber) && is_counting(first)) {
    push(Kind::kWord, 0, first).upright = true;
    if (run.size() == first.size()) return;
    run.erase(0, first.size());
  }
  Token& word = push(Kind::kWord, 0, run);
  word.upright = true;
  word.changes = std::any_of(kChangers.begin(), kChangers.end(),
                             [&](std::string_view c) { return run.find(c) != std::string::npos; });
}

namespace {

// The digits that recur in "0.1666..": at least three times, or twice and nothing else; false for
// a decimal that is only cut off.
bool find_period(std::string_view decimals, size_t* prefix, size_t* period) {
  for (size_t p = 1; 2 * p <= decimals.size(); ++p) {
    size_t same = 0;  // digits at the end that equal the one p places before
    while (same + p < decimals.size() &&
           decimals[decimals.size() - 1 - same] == decimals[decimals.size() - 1 - same - p])
      ++same;
    const size_t covered = same + p, times = covered / p;
    if (times < 2 || (times < 3 && p == 1 && covered < decimals.size())) continue;
    *prefix = decimals.size() - covered;
    *period = p;
    return true;
  }
  return false;
}

}  // namespace

// "0.333.." and "0.333\\ldots" at the cursor behind their digits.
bool Lexer::recurring_dots(std::string* digits) {
  size_t at = pos_;
  while (at < source_.size() && is_blank(source_[at])) ++at;
  size_t length = 0;
  for (std::string_view dots : {"\\ldots", "\\dots", "\\cdots", "..."}) {
    if (source_.substr(at).starts_with(dots)) length = dots.size();
  }
  const size_t point = digits->find('.');
  size_t prefix = 0, period = 0;
  if (length == 0 || point == std::string::npos || digits->size() - point > 200 ||
      !find_period(std::string_view(*digits).substr(point + 1), &prefix, &period))
    return false;
  digits->resize(point + 1 + prefix + period);
  digits->insert(point + 1 + prefix, "(");
  digits->push_back(')');
  pos_ = at + length;
  while (peek() == '.') ++pos_;
  return true;
}

// The digits that recur behind a decimal at the cursor: "0.1(6)", "0.\\dot{1}4\\dot{2}",
// "0.333\\ldots".
void Lexer::recurring(std::string* digits) {
  if (digits->find('.') == std::string::npos || digits->find('e') != std::string::npos) return;
  if (recurring_dots(digits)) return;
  std::string block;
  size_t at = pos_;
  if (peek() == '(') {
    const size_t close = source_.find(')', pos_);
    if (close == std::string_view::npos || close - pos_ > 60) return;
    block = std::string(source_.substr(pos_ + 1, close - pos_ - 1));
    at = close + 1;
    // "0.5(3)" is one number only where nothing goes on behind it.
    const char next = at < source_.size() ? source_[at] : '\0';
    if (is_digit(next) || is_letter(next) || next == '(' || next == '^' || next == '!') return;
  } else if (rest_starts("\\dot")) {
    auto dotted = [&] {  // one digit under a dot
      if (!source_.substr(at).starts_with("\\dot")) return false;
      size_t digit = at + 4;
      const bool braced = digit < source_.size() && source_[digit] == '{';
      digit += braced;
      while (digit < source_.size() && source_[digit] == ' ') ++digit;
      if (digit >= source_.size() || !is_digit(source_[digit])) return false;
      size_t end = digit;
      while (end < source_.size() && is_digit(source_[end]) && (braced || end == digit)) ++end;
      block.append(source_.substr(digit, end - digit));
      if (braced && (end >= source_.size() || source_[end] != '}')) return false;
      at = end + braced;
      return true;
    };
    if (!dotted()) return;
    const size_t first_end = at;
    std::string between;
    while (at < source_.size() && is_digit(source_[at])) between.push_back(source_[at++]);
    const std::string first = block;
    block += between;
    if (!dotted()) {
      if (!between.empty()) return;
      block = first;
      at = first_end;
    }
  } else {
    return;
  }
  const bool all_digits = !block.empty() && std::all_of(block.begin(), block.end(), is_digit);
  if (!all_digits) return;
  digits->append("(").append(block).append(")");
  pos_ = at;
}

// "\\\\[4pt]": the height of a row says nothing.
void Lexer::row_height() {
  if (peek() == '*') ++pos_;
  if (peek() != '[') return;
  size_t at = pos_ + 1;
  const size_t digits = at;
  while (at < source_.size() && (is_digit(source_[at]) || source_[at] == '.' || source_[at] == '-'))
    ++at;
  const size_t unit = at;
  while (at < source_.size() && is_letter(source_[at])) ++at;
  if (unit > digits && at == unit + 2 && at < source_.size() && source_[at] == ']') pos_ = at + 1;
}

}  // namespace zeroth::math

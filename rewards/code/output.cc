#include "rewards/code/output.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "core/ascii.h"

namespace zeroth {
namespace {

constexpr double kTolerance = 1e-6;
constexpr std::string_view kBlanks = " \t\n\r\f\v";

// The next word, taken from the front; empty at the end.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  const size_t end = std::min(text.find_first_of(kBlanks), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

using ascii::is_digit;

enum class Shape { kText, kWhole, kDecimal };

// [+-] digits, or the same with a point or an exponent.
Shape shape_of(std::string_view word) {
  size_t at = !word.empty() && (word[0] == '+' || word[0] == '-') ? 1 : 0;
  size_t digits = 0;
  const auto skip_digits = [&] {
    for (; at < word.size() && is_digit(word[at]); ++at) ++digits;
  };
  skip_digits();
  if (digits > 0 && at == word.size()) return Shape::kWhole;
  if (at < word.size() && word[at] == '.') {
    ++at;
    skip_digits();
  }
  if (digits == 0) return Shape::kText;
  if (at < word.size() && (word[at] == 'e' || word[at] == 'E')) {
    ++at;
    if (at < word.size() && (word[at] == '+' || word[at] == '-')) ++at;
    const size_t before = digits;
    skip_digits();
    if (digits == before) return Shape::kText;
  }
  return at == word.size() ? Shape::kDecimal : Shape::kText;
}

double number(std::string_view word) { return std::strtod(std::string(word).c_str(), nullptr); }

// The digits of a whole number written with a point, "-3.00" or "2e3"; empty when it is not whole.
std::string whole_digits(std::string_view word) {
  const size_t point = word.find('.');
  if (word.find_first_of("eE") == std::string_view::npos) {
    if (point == std::string_view::npos) return std::string(word);
    if (word.find_first_not_of('0', point + 1) != std::string_view::npos) return {};
    return std::string(word.substr(0, point));
  }
  const double x = number(word);
  if (!(std::abs(x) < 9e15) || std::floor(x) != x) return {};
  return std::to_string(static_cast<long long>(x));
}

std::string_view unsigned_part(std::string_view digits) {
  if (!digits.empty() && digits[0] == '+') digits.remove_prefix(1);
  return digits == "-0" ? digits.substr(1) : digits;
}

bool same_word(std::string_view printed, std::string_view expected) {
  if (printed == expected) return true;
  const Shape wanted = shape_of(expected), given = shape_of(printed);
  if (wanted == Shape::kText || given == Shape::kText) return false;
  if (wanted == Shape::kWhole) {
    if (given == Shape::kWhole) return false;
    const std::string digits = whole_digits(printed);
    return !digits.empty() && unsigned_part(digits) == unsigned_part(expected);
  }
  const double x = number(printed), y = number(expected);
  return std::isfinite(x) && std::isfinite(y) &&
         std::abs(x - y) <= kTolerance * std::max(1.0, std::abs(y));
}

}  // namespace

bool same_output(std::string_view printed, std::string_view expected) {
  for (;;) {
    const std::string_view a = take_word(printed), b = take_word(expected);
    if (a.empty() || b.empty()) return a.empty() && b.empty();
    if (!same_word(a, b)) return false;
  }
}

}  // namespace zeroth

#include "rewards/final_number.h"

#include <algorithm>
#include <cstdint>

#include "core/ascii.h"
#include "rewards/final_statement.h"

namespace zeroth {
namespace {

constexpr size_t kMaxDigits = 4096;

using ascii::is_digit;
// Bytes of other scripts count as letters: a digit glued to them is part of some other token.
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Length of the separator that closes a run of letters before a number, such as a currency sign in
// UTF-8.
bool ends_in_currency(std::string_view before) {
  for (std::string_view sign : {"\u20ac", "\u00a3", "\u00a5", "\u20b9"}) {
    if (before.ends_with(sign)) return true;
  }
  return false;
}

// A control character, or the start of bytes that are no UTF-8.
bool is_broken(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned lead = byte(at);
  if (lead < 0x80) return lead == 0x7F || (lead < 0x20 && !(lead >= '\t' && lead <= '\r'));
  const size_t more = lead >= 0xC2 && lead < 0xE0   ? 1
                      : lead >= 0xE0 && lead < 0xF0 ? 2
                      : lead >= 0xF0 && lead < 0xF5 ? 3
                                                    : 0;
  if (more == 0) return true;
  for (size_t i = 1; i <= more; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return true;
  }
  return false;
}

// One run of digits, commas and points that starts at `at`; *end is where it stops. Empty when it
// is no number.
std::string scan_unsigned(std::string_view text, size_t at, size_t* end) {
  size_t stop = at;
  while (stop < text.size() && (is_digit(text[stop]) || text[stop] == ',' || text[stop] == '.'))
    ++stop;
  // Punctuation at the end belongs to the sentence.
  while (stop > at && !is_digit(text[stop - 1])) --stop;
  *end = stop;
  const std::string_view run = text.substr(at, stop - at);
  const size_t point = run.find('.');
  const std::string_view whole = run.substr(0, point);
  const std::string_view decimals = point == std::string_view::npos ? "" : run.substr(point + 1);
  if (decimals.find_first_not_of("0123456789") != std::string_view::npos) return "";
  std::string digits;
  const bool grouped = whole.find(',') != std::string_view::npos;
  if (grouped) {
    const size_t first = whole.find(',');
    if (first == 0 || first > 3) return "";
    for (size_t i = 0; i < whole.size(); ++i) {
      const bool comma_here = i >= first && (i - first) % 4 == 0;
      if ((whole[i] == ',') != comma_here) return "";
    }
    if ((whole.size() - first) % 4 != 0) return "";
  }
  for (char c : whole) {
    if (c != ',') digits += c;
  }
  if (digits.empty() || digits.size() + decimals.size() > kMaxDigits) return "";
  return point == std::string_view::npos ? digits : digits + "." + std::string(decimals);
}

// "0018.50" -> "18.5", "-0.0" -> "0".
std::string normalise(bool negative, std::string text) {
  const size_t point = text.find('.');
  std::string whole = text.substr(0, point);
  std::string decimals = point == std::string::npos ? "" : text.substr(point + 1);
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  while (!decimals.empty() && decimals.back() == '0') decimals.pop_back();
  if (whole.empty()) whole = "0";
  const bool zero = whole == "0" && decimals.empty();
  return (negative && !zero ? "-" : "") + whole + (decimals.empty() ? "" : "." + decimals);
}

// a / b as a decimal of at most 12 places, both whole and below 10^15; empty when it does not come
// out even.
std::string divide(const std::string& a, const std::string& b) {
  if (a.size() > 15 || b.size() > 15 || (a + b).find('.') != std::string::npos) return "";
  const int64_t divisor = std::stoll(b);
  if (divisor == 0) return "";
  int64_t rest = std::stoll(a) % divisor;
  std::string text = std::to_string(std::stoll(a) / divisor);
  if (rest != 0) text += '.';
  for (int places = 0; rest != 0; ++places) {
    if (places == 12) return "";
    rest *= 10;  // below 10^16
    text += static_cast<char>('0' + rest / divisor);
    rest %= divisor;
  }
  return text;
}

struct Found {
  FinalNumber number;
  bool valid = false;
  size_t next = 0;  // where to go on
};

// The token that holds the digit at `at`, whose predecessor is no digit.
Found scan_number(std::string_view text, size_t at) {
  Found found;
  size_t begin = at;
  // ".5" starts at its point.
  const bool bare_point = at > 0 && text[at - 1] == '.' && (at == 1 || !is_digit(text[at - 2]));
  size_t end = at;
  std::string value = scan_unsigned(text, at, &end);
  found.next = std::max(end, at + 1);
  const size_t comma =
      value.empty() ? text.substr(at, end - at).rfind(',') : std::string_view::npos;
  if (comma != std::string_view::npos) {
    // "1,2,3" is a list: its last element stands for itself.
    begin = at + comma + 1;
    value = scan_unsigned(text, begin, &end);
  } else if (bare_point) {
    const bool decimals_only = value.find('.') == std::string::npos && value.size() == end - at;
    // "end of a sentence.5" is too odd to guess; only a blank or sign may stand before the point.
    const bool clean =
        at < 2 || std::string_view(" \t\n$=+-(").find(text[at - 2]) != std::string_view::npos;
    value = decimals_only && clean ? "0." + value : "";
    begin = at - 1;
  }
  const std::string_view before = text.substr(0, begin);
  if (!before.empty() && is_letter(before.back()) && !ends_in_currency(before)) value.clear();
  // "1e5": an exponent, not a number with a unit.
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t digit = end + 1;
    if (digit < text.size() && (text[digit] == '-' || text[digit] == '+')) ++digit;
    if (digit < text.size() && is_digit(text[digit])) {
      value.clear();
      while (digit < text.size() && is_digit(text[digit])) ++digit;
      found.next = digit;
    }
  }
  // "7/2" is one number; a chain such as a date is none.
  int slashes = 0;
  while (end + 1 < text.size() && text[end] == '/' && is_digit(text[end + 1])) {
    const size_t start = end + 1;
    const std::string second = scan_unsigned(text, start, &end);
    value = value.empty() || second.empty() || ++slashes > 1 ? "" : divide(value, second);
    found.next = std::max(end, start + 1);
  }
  bool negative = false;
  if (begin > 0 && (text[begin - 1] == '$')) --begin;
  if (begin > 0 && (text[begin - 1] == '-' || text[begin - 1] == '+')) {
    // A minus after an operand is a subtraction: "20-2" ends with 2.
    const size_t sign = begin - 1;
    size_t operand = sign;
    while (operand > 0 && text[operand - 1] == ' ') --operand;
    const bool binary = operand > 0 && (is_digit(text[operand - 1]) || text[operand - 1] == ')' ||
                                        (operand == sign && is_letter(text[operand - 1])));
    const bool spaced = operand != sign && (sign + 1 < text.size() && text[sign + 1] != ' ');
    if (!binary || spaced) {
      negative = text[sign] == '-';
      begin = sign;
    }
  }
  // Bytes that are no text make it a part of something else.
  const bool behind_control =
      begin > 0 && static_cast<unsigned char>(text[begin - 1]) < 0x80 && is_broken(text, begin - 1);
  if (behind_control || (end < text.size() && is_broken(text, end))) value.clear();
  found.valid = !value.empty();
  if (found.valid) found.number = {normalise(negative, value), begin, end};
  return found;
}

}  // namespace

std::optional<FinalNumber> find_final_number(std::string_view text, NumberPlace place) {
  size_t from = 0;
  if (place == NumberPlace::kMarker) {
    const size_t marker = text.rfind("####");
    if (marker == std::string_view::npos) return std::nullopt;
    from = marker + 4;
  }
  const std::string_view part = text.substr(from);
  std::optional<FinalNumber> last;
  for (size_t at = part.find_first_of("0123456789"); at != std::string_view::npos;
       at = part.find_first_of("0123456789", at)) {
    Found found = scan_number(part, at);
    at = found.next;
    if (!found.valid) continue;
    last = std::move(found.number);
    if (place == NumberPlace::kMarker) break;  // the number that follows the marker
  }
  if (last) {
    last->begin += from;
    last->end += from;
  }
  return last;
}

Verdict check_final_number(std::string_view answer, std::string_view gold, bool strict) {
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.info = Json::object();
  std::optional<FinalNumber> expected = find_final_number(gold, NumberPlace::kMarker);
  if (!expected) expected = find_final_number(gold, NumberPlace::kLast);
  if (!expected) {
    verdict.reason = Reason::kBadGold;
    return verdict;
  }
  std::optional<FinalNumber> found = find_final_number(answer, NumberPlace::kMarker);
  if (!found && !strict) found = find_final_number(final_statement(answer), NumberPlace::kLast);
  if (!found) {
    verdict.reason = Reason::kNoAnswer;
    return verdict;
  }
  verdict.extracted = found->text;
  const bool right = found->text == expected->text;
  verdict.score = right ? 1 : 0;
  verdict.reason = right ? Reason::kCorrect : Reason::kWrong;
  return verdict;
}

}  // namespace zeroth

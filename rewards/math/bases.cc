#include "rewards/math/bases.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "rewards/math/extract_parts.h"
#include "rewards/math/rewrite.h"

namespace zeroth::math {

int base_of(std::string_view subscript) {
  std::string text;
  for (const char c : subscript) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) text.push_back(c);
  }
  text = lower_case(text);
  if (text.starts_with("base")) text.erase(0, 4);
  if (text == "hex") return 16;
  if (text == "bin") return 2;
  if (text == "oct") return 8;
  if (text == "dec") return 10;
  int base = number_of_word(text);
  if (base < 0 && !text.empty() && text.size() <= 2 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    base = std::stoi(text);
  return base >= 2 && base <= 36 ? base : 0;
}

Ref based_number(Pool& pool, std::string_view digits, int base) {
  return pool.make(Op::kBase, std::initializer_list<Ref>{}, pool.intern(digits),
                   static_cast<uint8_t>(base));
}

namespace {

// The content of "\text{..}" or of plain brackets around the whole text.
std::string_view unwrapped(std::string_view text) {
  for (std::string_view command : {"\\text{", "\\mathrm{", "\\texttt{", "\\mathtt{", "{", "("}) {
    const char close = command == "(" ? ')' : '}';
    if (text.starts_with(command) && text.size() > command.size() && text.back() == close)
      return text.substr(command.size(), text.size() - command.size() - 1);
  }
  return text;
}

}  // namespace

Ref read_lettered_base(Pool& pool, std::string_view source) {
  const size_t mark = source.rfind('_');
  if (mark == std::string_view::npos || mark == 0 || source.size() > 80) return kNoRef;
  std::string_view subscript = unwrapped(source.substr(mark + 1));
  subscript = unwrapped(subscript);
  const int base = base_of(subscript);
  const std::string digits(unwrapped(source.substr(0, mark)));
  bool letters = false, small = false, numerals = false;
  if (base <= 10 || digits.empty()) return kNoRef;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                                             : 99;
    if (digit >= base) return kNoRef;
    letters |= digit >= 10;
    small |= c >= 'a';
    numerals |= c <= '9';
  }
  // "ab_{12}" is a name with an index rather than a number.
  if (!letters || (small && !numerals)) return kNoRef;
  std::string name = digits;
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  name.erase(0, std::min(name.find_first_not_of('0'), name.size() - 1));
  return based_number(pool, name, base);
}

}  // namespace zeroth::math

// Sets of code points as PCRE2 writes them, with the members that Oniguruma gives them (Unicode
// 16.0). Parts of tokenizer_pattern.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_unicode.h"

namespace zeroth {

// A set of code points under translation. `items` may stand inside [...]; every one of `singles` is
// an expression that matches exactly one character and cannot be written inside [...].
struct CharSet {
  std::string items;
  std::vector<std::string> singles;

  void add(const CharSet& other) {
    items += other.items;
    singles.insert(singles.end(), other.singles.begin(), other.singles.end());
  }
};

// One character as itself or as a hexadecimal escape, safe inside and outside of [...].
std::string literal_item(CodePoint code);
std::string range_item(CodePoint first, CodePoint last);

// A single-character expression for the union (or its complement).
std::string render(const CharSet& set, bool negate);

CharSet category_set(const std::string& category);  // \p{category}; a letter or two
CharSet white_space_set();                          // \s
CharSet word_set();                                 // \w
CharSet hex_digit_set();                            // \h

// By the name of a property or a POSIX class, in lower case without spaces, '_' and '-'; empty when
// its members are not known exactly.
std::optional<CharSet> named_set(const std::string& name);

// The characters that an expression of one character matches, as ranges (tokenizer_regex.cc).
CharSet enumerated_set(const std::string& single);

}  // namespace zeroth

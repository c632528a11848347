// Text as Python's str has it: code points, its notion of white space, its case rules, its repr.
// Texts are valid UTF-8. Pure and thread safe; linear in the input.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace zeroth::jinja {

// No overlong forms, no surrogates, at most U+10FFFF.
bool is_valid_utf8(std::string_view text);

// Code points of a text, and the first one: its value and its bytes.
int64_t code_points(std::string_view text);
struct Character {
  uint32_t code = 0;
  int bytes = 0;  // 0: the text is empty
};
Character first_character(std::string_view text);
void append_character(std::string& out, uint32_t code);
// The byte where code point number `index` begins (0 <= index <= code points).
size_t byte_of(std::string_view text, int64_t index);
// Code points [begin, end) of it.
std::string_view characters(std::string_view text, int64_t begin, int64_t end);

// str.isspace, and \s of a regular expression.
bool is_space(uint32_t code);
bool is_printable(uint32_t code);
bool is_alphabetic(uint32_t code);
bool is_decimal(uint32_t code);
bool is_digit(uint32_t code);
bool is_numeric(uint32_t code);  // throws Failure kUnsupported for ideographs, which Python counts
bool is_upper(uint32_t code);    // category Lu and Other_Uppercase; is_lower likewise
bool is_lower(uint32_t code);
bool is_title(uint32_t code);

// Cut at both sides, or one: white space, or any of `characters`.
enum class Side { kBoth, kLeft, kRight };
std::string_view stripped(std::string_view text, Side side = Side::kBoth);
std::string_view stripped_of(std::string_view text, std::string_view characters, Side side);

// str.split and str.rsplit at white space; most < 0: no bound.
std::vector<std::string_view> split_words(std::string_view text, int64_t most, bool from_right);
// At a separator that is not empty.
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       int64_t most, bool from_right);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

std::string upper_case(std::string_view text);
std::string lower_case(std::string_view text);  // with the final sigma
std::string title_case(std::string_view text);
std::string capitalized(std::string_view text);
std::string swapped_case(std::string_view text);
std::string case_folded(std::string_view text);

// Occurrences replaced from the left, at most `most` (< 0: all). Throws Failure kLimit above
// `limit` bytes.
std::string replaced(std::string_view text, std::string_view old, std::string_view with,
                     int64_t most, size_t limit);

std::string repr_text(std::string_view text);     // repr
std::string whole_text(Int value);                // decimal
std::string real_text(double value);              // repr of a float
std::string html_escaped(std::string_view text);  // markupsafe.escape

// int(text, base) and float(text); false when Python raises ValueError.
bool parse_whole(std::string_view text, int base, Int& value);
bool parse_real(std::string_view text, double& value);

}  // namespace zeroth::jinja

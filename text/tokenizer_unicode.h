// UTF-8 and Unicode facts that tokenizers need: characters, classes, normal forms.
// All functions are pure and thread safe; times are linear in the input up to a logarithm.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace zeroth {

using CodePoint = uint32_t;

// One character at the start of `text`: strict UTF-8 (no overlong forms, no surrogates, at most
// U+10FFFF; Unicode 15.0, table 3-7). length 0: `text` is empty or does not start with one.
struct Utf8Char {
  CodePoint code = 0;
  int length = 0;
};
Utf8Char decode_utf8(std::string_view text);

void append_utf8(std::string& out, CodePoint code);

// Length of the longest prefix that is valid UTF-8.
size_t valid_utf8_prefix(std::string_view text);

// Number of leading bytes that no valid character starts with (0 when the text is empty or starts
// with a character).
size_t invalid_utf8_prefix(std::string_view text);

// Every maximal ill-formed subpart (Unicode 15.0, section 3.9) becomes one U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

bool is_white_space(CodePoint c);      // property White_Space
bool is_word(CodePoint c);             // Alphabetic, M, Nd, Pc, Join_Control (UTS 18, annex C, \w)
bool is_numeric(CodePoint c);          // general category N
bool is_any_punctuation(CodePoint c);  // general category P, or an ASCII symbol

// Normal forms of UAX 15. `text` must be valid UTF-8.
enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize_utf8(std::string_view text, NormalForm form);

// Simple lower case of every character, with the one full mapping that lengthens (U+0130).
std::string lower_utf8(std::string_view text);

// Code points that Unicode 15.0 to 16.0 assigned, with their general category. The regex library
// of Debian 12 knows Unicode 14.0; tokenizers are defined by newer tables.
struct NewCodePoints {
  CodePoint first;
  CodePoint last;
  char category[3];
};
std::span<const NewCodePoints> new_code_points();

}  // namespace zeroth

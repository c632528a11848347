// Bytes of ASCII, whatever the locale. Bytes of other scripts (0x80 and above) are none of these.
// Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace zeroth::ascii {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
// Space, tab, line feed, carriage return.
inline bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 32) : c; }
inline std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

// Without the blanks at both ends.
inline std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Whether `lower_word` stands at `at`, in any case.
inline bool starts_ignoring_case(std::string_view text, size_t at, std::string_view lower_word) {
  if (at + lower_word.size() > text.size()) return false;
  for (size_t i = 0; i < lower_word.size(); ++i) {
    if (lower(text[at + i]) != lower_word[i]) return false;
  }
  return true;
}

}  // namespace zeroth::ascii

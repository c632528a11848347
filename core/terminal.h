// Text for a terminal: colour when it is wanted, hostile bytes made visible.
#pragma once

#include <string>
#include <string_view>

namespace zeroth {

// True when `fd` is a terminal and NO_COLOR (no-color.org) is unset or empty and TERM is not
// "dumb".
bool wants_color(int fd);

// The text with everything that could steer a terminal or mislead a reader made visible: control
// characters other than line feed and tab, bidirectional marks, zero-width characters (as
// <U+202E>), and bytes that are no UTF-8 (as <0xFF>).
std::string printable(std::string_view text);

// True for the characters that printable() makes visible.
bool steers_terminal(char32_t c);

// printable() on one line of at most `width` characters: line feeds become a return symbol, the end
// an ellipsis.
std::string printable_line(std::string_view text, size_t width);

// Decodes one UTF-8 character at `at` and moves behind it; U+FFFFFFFF for a byte that starts none
// (moves by one).
char32_t next_character(std::string_view text, size_t& at);

// Number of terminal columns of `fd`, or `otherwise` when it has none.
int terminal_width(int fd, int otherwise);

}  // namespace zeroth

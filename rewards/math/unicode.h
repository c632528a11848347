// Unicode mathematics rewritten as ASCII LaTeX.
#pragma once

#include <string>
#include <string_view>

namespace zeroth::math {

// Zero-width characters vanish; superscripts become ^{..}, subscripts _{..}; signs, Greek,
// full-width and mathematical letters become their LaTeX or ASCII spelling; a bar or dot over a
// digit becomes \overline{..} or \dot{..}. Control characters that are the remains of a string
// escape ("\frac" read as form feed + "rac") are repaired. Any other character, byte that is no
// UTF-8 (as U+FFFD), control and mark of direction becomes \x01 + hex code + \x02, which the lexer
// reads as a symbol of its own: a look-alike letter never equals the ASCII one, and "4<0xFF>2" is
// not 42. Linear in the input.
std::string to_ascii_latex(std::string_view utf8);

// The text with `instead` for every run of bytes that are no UTF-8 and, when `instead` is not
// empty, of control characters other than blanks and those of string escapes.
std::string valid_utf8(std::string_view bytes, std::string_view instead = {});

}  // namespace zeroth::math

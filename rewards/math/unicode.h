// Unicode mathematics rewritten as ASCII LaTeX.
#pragma once

#include <string>
#include <string_view>

namespace zeroth::math {

// Invalid UTF-8 is dropped; zero-width characters vanish; superscripts become ^{..}, subscripts
// _{..}; signs, Greek and full-width forms become their LaTeX or ASCII spelling. Control characters
// that are the remains of a string escape
// ("\frac" read as form feed + "rac") are repaired. Any other character becomes \x01 + hex code +
// \x02, which the lexer reads as a symbol of its own, so that a look-alike letter never equals the
// ASCII one. Linear in the input.
std::string to_ascii_latex(std::string_view utf8);

// The text without the bytes that are no UTF-8.
std::string valid_utf8(std::string_view bytes);

}  // namespace zeroth::math

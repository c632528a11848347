// Patterns of tokenizer.json are written for Oniguruma (the library behind Hugging Face
// tokenizers); ours is PCRE2. Both read most patterns alike, but not all: \s of PCRE2 holds U+180E,
// \h is a hex digit in Oniguruma and a blank in PCRE2, x{2}+ is greedy in one and possessive in the
// other, [a-z&&[^b]] is an intersection only in Oniguruma, and the Unicode versions differ.
// (Oniguruma 6.9.10, doc/RE and doc/SYNTAX.md; PCRE2 10.42, pcre2pattern(3).)
#pragma once

#include <string>
#include <string_view>

namespace zeroth {

// The PCRE2 pattern (for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, newline LF) that matches what
// Oniguruma matches with `pattern`. What cannot be translated exactly throws Error naming the
// construct, `pattern` and `where` (file and field).
std::string oniguruma_to_pcre2(std::string_view pattern, const std::string& where);

// A PCRE2 pattern that matches `text` literally.
std::string literal_pattern(std::string_view text);

}  // namespace zeroth

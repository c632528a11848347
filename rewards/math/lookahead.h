// What stands at a place of the tokens: units, remarks, words. Nothing is passed.
#pragma once

#include "rewards/math/token_cursor.h"

namespace zeroth::math {

// \frac{\text{km}}{\text{h}}
bool at_unit_fraction(const TokenCursor& tokens);
// 5\Omega, 5\mu\mathrm{F}, 5\text{k}\Omega at the end of a value.
bool at_symbol_unit(const TokenCursor& tokens);
// A remark in brackets behind a value: "(exactly)", "(about 0.33)", "(\approx 33.3\%)".
bool at_remark(const TokenCursor& tokens);
// "(mod 7)"
bool at_bracketed_modulus(const TokenCursor& tokens);
// Words, and marks that stand between words, up to the next separator.
bool only_words_ahead(const TokenCursor& tokens);
// At an "if" or "when" behind a value: a further case follows, so that the value is not the answer
// alone.
bool more_cases_ahead(const TokenCursor& tokens);
// At the name of a function that a relation defines: at "W" of "W(n) = ..".
bool at_function_definition(const TokenCursor& tokens);

}  // namespace zeroth::math

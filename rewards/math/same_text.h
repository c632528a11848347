// Answers in words: spellings, letters of choices, yes and no.
#pragma once

#include <string>

#include "rewards/math/expr.h"

namespace zeroth::math {

// The letters of a text, a name or a product of one-letter names; empty for anything else.
std::string spelling(const Pool& pool, Ref ref);
// The same words, or a choice letter that the answer spells out: "B", "(B)", "B. 42".
bool same_text(const Pool& pool, Ref gold, Ref pred);
// "ABD" of "ABD", "A, B, D" and "\text{A,B,D}": letters of several choices, sorted. Empty for
// anything else.
std::string choice_letters(const Pool& pool, Ref ref);
// "Yes, it is possible" for a gold "Yes". `gold` is a text.
bool affirms(const Pool& pool, Ref gold, Ref pred);

}  // namespace zeroth::math

// Words beside values, as the parser knows them.
#pragma once

#include <string_view>

namespace zeroth::math {

// A phrase that begins with the word qualifies the answer before it, and ends it: "for all x".
bool is_qualifier(std::string_view word);
// With the word the number beside it is not the answer: "not", "undefined".
bool is_negation(std::string_view word);

}  // namespace zeroth::math

// Words in place of values.
#pragma once

#include <string_view>

#include "rewards/math/expr.h"
#include "rewards/math/token_cursor.h"

namespace zeroth::math {

// The spelling of the tokens [begin, end) as a text that equals the same words in other spellings:
// small letters, without blanks, without an article before it. Words that name a set of numbers
// ("all real numbers", "no solution") are that set.
Ref text_of_tokens(Pool& pool, const TokenCursor& tokens, size_t begin, size_t end);

// A set of numbers by its name: R, Z, N, Q, C, with its sign or bound as in "R^+", or "empty".
Ref special_set(Pool& pool, std::string_view name);

}  // namespace zeroth::math

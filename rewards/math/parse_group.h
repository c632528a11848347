// Rules for what stands between brackets.
#pragma once

#include <vector>

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// At an opening bracket: ( .. ), [ .. ], { .. }, \{ .. \}, < .. >, floor and ceiling. Grouping, a
// tuple, an interval, a set.
Ref parse_group(ParseState& state);
// At a bar: |x| and ||x||.
Ref parse_bars(ParseState& state);
// {..} as one value, or one token as TeX takes it: \frac12 is 1 over 2.
Ref parse_braced(ParseState& state);
// Members up to the closing bracket `close` ('\0': any), which stays; commas, semicolons and
// conjunctions separate them. Empty when there are none, or one is not understood. `joined`: has the
// conjunctions that stood there added, if given.
std::vector<Ref> parse_members(ParseState& state, char close, uint8_t* joined = nullptr);
// kJoinedByAnd, kJoinedByOr, or 0 for a comma.
uint8_t joined_by(const Token& separator);

}  // namespace zeroth::math

// The rule for relations and chains of them.
#pragma once

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// "x", "x = 2", "1 < x < 3", "a = b \approx 0.57", "x = 3 \pmod 7": expressions joined by relation
// signs. One expression alone stays as it is. Behind an approximation nothing counts.
Ref parse_relation(ParseState& state);

}  // namespace zeroth::math

// Rules for sums, products, integrals and limits.
#pragma once

#include <string_view>

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// sum, prod, int, lim, ..
bool is_series_command(std::string_view name);
// Behind the name: \sum_{k=a}^{b} body. Integrals and limits, and sums without both bounds, are
// compared as written.
Ref parse_series(ParseState& state, std::string_view name);

}  // namespace zeroth::math

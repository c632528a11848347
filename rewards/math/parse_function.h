// Rules for functions that are written by name.
#pragma once

#include <string_view>

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// sin, log, exp, max, det, ..
bool is_function_command(std::string_view name);
// Behind the name of a function: sin x, sin(x), sin^2 x, sin^{-1} x, \log_2 8, \max(a, b).
Ref parse_function(ParseState& state, std::string_view name);

}  // namespace zeroth::math

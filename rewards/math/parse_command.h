// The rule for LaTeX commands that are values: fractions, roots, letters, sets, accents. Functions,
// big operators and environments have rules of their own.
#pragma once

#include <string_view>

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// At a command. One that is not known is a symbol of its name.
Ref parse_command(ParseState& state);

// frac and its other sizes.
bool is_fraction_command(std::string_view name);

}  // namespace zeroth::math

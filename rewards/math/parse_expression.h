// Rules for expressions: set operations, sums, products, factors.
#pragma once

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// operand (cup | cap | setminus) operand .., left to right. A "U" between brackets is a union.
Ref parse_set_expression(ParseState& state);
Ref parse_sum(ParseState& state);
// Factors joined by explicit *, / and the ratio sign. Juxtaposition binds tighter: 1/2x is 1/(2x).
Ref parse_product(ParseState& state);
// Signs and the factors that stand side by side behind them.
Ref parse_signed_product(ParseState& state);
// An atom with its powers and marks.
Ref parse_factor(ParseState& state);

// A factor may begin at the cursor, so that the one before it is multiplied.
bool starts_factor(const ParseState& state);
// A letter or word behind a number is its unit: "10 cm", "5\mathrm{m}".
bool stops_for_unit(const ParseState& state, Ref so_far);

}  // namespace zeroth::math

// The rule for environments: matrices, cases, aligned rows.
#pragma once

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// Behind \begin. A matrix is a kMatrix, a vmatrix its determinant up to 4 x 4. Cases with a
// condition in each row are a kOpaque with kCasesFlag; rows of one cell are a list.
Ref parse_environment(ParseState& state);

}  // namespace zeroth::math

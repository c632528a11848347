// Scalars: numbers, percentages, angles, ratios, numbers with a unit, expressions in variables.
#pragma once

#include "rewards/math/evaluation.h"

namespace zeroth::math {

// Neither text nor a collection, region, relation, matrix or number in a base.
bool is_scalar(const Pool& pool, Ref ref);

// The same value, or agreement of a decimal fraction to Evaluation::decimals(). Scalars only.
bool same_number(Evaluation& evaluation, Ref gold, Ref pred);
// Also 50% and 1/2, 30 degrees and pi/6, 3 : 1 and 3, 10 m and 10, 3x and 3X. Scalars only.
bool same_scalar(Evaluation& evaluation, Ref gold, Ref pred);
// Numbers in a base, one side at least: digits and base both count. A number without a base is
// taken to stand in the asked one.
bool same_digits(const Pool& pool, Ref gold, Ref pred);

}  // namespace zeroth::math

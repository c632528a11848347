// Sums, products and powers that also know matrices, percentages and tuples as vectors.
#pragma once

#include "rewards/math/expr.h"

namespace zeroth::math {

// kNoRef when undefined, as for texts, lists and sets, and when the pool is full.
Ref combine_add(Pool& pool, Ref a, Ref b);
Ref combine_mul(Pool& pool, Ref a, Ref b);
Ref combine_pow(Pool& pool, Ref base, Ref exponent);

// Of a kMatrix. The determinant is kNoRef beyond 4 x 4, or when the matrix is not square.
Ref transpose(Pool& pool, Ref matrix);
Ref determinant(Pool& pool, Ref matrix);

}  // namespace zeroth::math

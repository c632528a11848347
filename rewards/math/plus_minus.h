// Plus-minus signs, which stand for both values.
#pragma once

#include <vector>

#include "rewards/math/expr.h"

namespace zeroth::math {

// The expressions that `ref` stands for, one for each choice of its signs, at most 16. With a
// minus-plus sign among them, or more than four signs, all signs are chosen together. Sets and
// lists open member by member and stay one. Never empty unless the pool is full.
std::vector<Ref> expand_signs(Pool& pool, Ref ref);

}  // namespace zeroth::math

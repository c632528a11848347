// Values by cases: pairs of a value and its condition.
#pragma once

#include "rewards/math/compare.h"

namespace zeroth::math {

bool is_cases(const Pool& pool, Ref ref);
// The same cases in any order; "otherwise" stands for the one condition that is left.
bool same_cases(Comparer& comparer, Ref gold, Ref pred, int depth);

}  // namespace zeroth::math

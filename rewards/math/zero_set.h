// Curves: whether two rational functions vanish at the same points.
#pragma once

#include "rewards/math/evaluation.h"

namespace zeroth::math {

// x y = 1 and y = 1/x are the same curve, for a = x y - 1 and b = y - 1/x. True when the numerators
// in lowest terms agree up to a constant factor. False for anything that is no rational function of
// 1 to 6 variables, or has more terms or a higher degree than the bounds in zero_set.cc.
bool same_zero_set(const Evaluation& evaluation, Ref a, Ref b);

}  // namespace zeroth::math

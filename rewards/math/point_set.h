// Sets of points of the real line, made of intervals and points with constant ends.
#pragma once

#include <optional>

#include "rewards/math/evaluation.h"

namespace zeroth::math {

// Whether two regions hold the same points; nullopt when an end is no real constant, or the order
// of ends cannot be shown. A pair (a, b) is the open interval.
std::optional<bool> same_points(Evaluation& evaluation, Ref a, Ref b);
// Shown to hold no point.
bool has_no_point(Evaluation& evaluation, Ref region);

}  // namespace zeroth::math

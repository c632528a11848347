// Whether two scalars are equal, and which of two real constants is larger. Exact numbers first,
// then residues modulo a prime, then enclosures.
#pragma once

#include <compare>
#include <optional>

#include "rewards/math/evaluation.h"

namespace zeroth::math {

// The same constant, or the same function of the same variables. What cannot be shown within the
// budget counts as different; Evaluation::exhausted() tells.
bool same_value(Evaluation& evaluation, Ref a, Ref b);

// The order of two real constants or infinities; nullopt when it is undefined or cannot be shown.
std::optional<std::strong_ordering> order(Evaluation& evaluation, Ref a, Ref b);

// One is a constant multiple of the other, positive unless `either_sign`, as far as probe points
// show. Constants are not.
bool proportional(Evaluation& evaluation, Ref a, Ref b, bool either_sign);

// Two constants that round to the same value at Evaluation::decimals() and agree to 2%, which
// counts where they are so small that few digits are left.
bool same_decimals(Evaluation& evaluation, Ref a, Ref b);

}  // namespace zeroth::math

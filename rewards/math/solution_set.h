// The points of the real line that inequalities and set-builders describe.
#pragma once

#include <optional>

#include "rewards/math/evaluation.h"

namespace zeroth::math {

// The region of an inequality, a chain of them, a list of them for one variable, or a set-builder;
// other nodes as they are. Solves what is linear or quadratic in one variable, and absolute values
// of it. kNoRef when there is no region or it cannot be found.
Ref solution_set(Evaluation& evaluation, Ref ref);

// Whether both sides describe the same points; nullopt when that cannot be told.
std::optional<bool> same_solutions(Evaluation& evaluation, Ref gold, Ref pred);

}  // namespace zeroth::math

// Equations, inequalities, congruences and definitions.
#pragma once

#include "rewards/math/compare.h"

namespace zeroth::math {

// Two relations: equations up to a factor or as the same curve, assignments by name and value,
// definitions with other names of their arguments, congruences modulo the modulus, inequalities up
// to a positive factor. A gold |x - 2| < 3 accepts its solution -1 < x < 5.
bool same_relation(Comparer& comparer, Ref gold, Ref pred, int depth);

// "5 = 6", "x = 1 = 2", "x = 2 x = 3": a chain that ends in a constant and contradicts itself
// answers nothing.
bool contradicts_itself(Evaluation& evaluation, Ref equation);

// A gold equation that is linear in one variable accepts the expression for that variable:
// y + 1 = -(2x - 1)^2 and -4x^2 + 4x - 2.
bool solved_by(Evaluation& evaluation, Ref equation, Ref expression);

}  // namespace zeroth::math

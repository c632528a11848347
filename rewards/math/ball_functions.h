// Elementary functions of one ball. Pure; they depend on their arguments alone.
#pragma once

#include "rewards/math/enclosure.h"
#include "rewards/math/node.h"

namespace zeroth::math {

// Whether `f` is one that circular_function or inverse_function computes.
bool is_circular(Function f);  // sin .. csc, sinh .. csch
bool is_inverse(Function f);   // arcsin .. arccsc, arsinh, arcosh, artanh

// z = f(x) with `precision` bits. `f` must be circular; z need not be finite.
void circular_function(Function f, acb_ptr z, acb_srcptr x, int precision);
// z = f(x), principal values. False when undefined: at a pole, or without a real value in the real
// domain. `f` must be inverse.
bool inverse_function(Function f, acb_ptr z, acb_srcptr x, const Probe& probe);
// z = n! / (k! (n-k)!) by the gamma function; false when not finite.
bool binomial_function(acb_ptr z, acb_srcptr n, acb_srcptr k, int precision);

}  // namespace zeroth::math

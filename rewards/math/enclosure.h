// Rigorous values of expressions: balls that hold the exact value, by Arb (Johansson 2017).
#pragma once

#include "rewards/math/ball.h"
#include "rewards/math/evaluation.h"

namespace zeroth::math {

enum class Domain {
  kReal,    // a root or logarithm of a negative number is undefined
  kComplex  // principal values
};

// Where and how to evaluate.
struct Probe {
  int point;      // 0..kProbePoints-1: the values of the free variables
  int precision;  // bits
  Domain domain;
};

// Encloses the value of `ref`. False when it is undefined, over budget or not a finite number; then
// *out means nothing. Sums and products with integer bounds are unrolled. Unknown operators and
// functions have a value that depends on their structure alone.
bool enclose(Evaluation& evaluation, Ref ref, const Probe& probe, Ball* out);

}  // namespace zeroth::math

#include "rewards/math/ball_functions.h"

namespace zeroth::math {

namespace {

using BallFunction = void (*)(acb_ptr, const acb_t, slong);

// The function of Arb behind a circular or hyperbolic one; nullptr for any other.
BallFunction circular(Function f) {
  switch (f) {
    case Function::kSin:
      return acb_sin;
    case Function::kCos:
      return acb_cos;
    case Function::kTan:
      return acb_tan;
    case Function::kCot:
      return acb_cot;
    case Function::kSec:
      return acb_sec;
    case Function::kCsc:
      return acb_csc;
    case Function::kSinh:
      return acb_sinh;
    case Function::kCosh:
      return acb_cosh;
    case Function::kTanh:
      return acb_tanh;
    case Function::kCoth:
      return acb_coth;
    case Function::kSech:
      return acb_sech;
    case Function::kCsch:
      return acb_csch;
    default:
      return nullptr;
  }
}

// Likewise for the inverses; those of cot, sec and csc take the reciprocal argument.
BallFunction inverse(Function f) {
  switch (f) {
    case Function::kArcsin:
    case Function::kArccsc:
      return acb_asin;
    case Function::kArccos:
    case Function::kArcsec:
      return acb_acos;
    case Function::kArctan:
    case Function::kArccot:
      return acb_atan;
    case Function::kArsinh:
      return acb_asinh;
    case Function::kArcosh:
      return acb_acosh;
    case Function::kArtanh:
      return acb_atanh;
    default:
      return nullptr;
  }
}

}  // namespace

bool is_circular(Function f) { return circular(f) != nullptr; }
bool is_inverse(Function f) { return inverse(f) != nullptr; }

void circular_function(Function f, acb_ptr z, acb_srcptr x, int precision) {
  circular(f)(z, x, precision);
}

bool inverse_function(Function f, acb_ptr z, acb_srcptr x, const Probe& probe) {
  Ball argument;
  acb_set(argument.get(), x);
  if (f == Function::kArccot || f == Function::kArcsec || f == Function::kArccsc) {
    if (acb_contains_zero(x)) return false;
    acb_inv(argument.get(), x, probe.precision);
  }
  inverse(f)(z, argument.get(), probe.precision);
  if (!acb_is_finite(z)) return false;
  // arcsin 2 has no real value. At the ends of the range rounding may leave a tiny imaginary ball,
  // which is dropped.
  if (probe.domain == Domain::kReal && !is_real(z)) {
    if (!arb_contains_zero(acb_imagref(z))) return false;
    arb_zero(acb_imagref(z));
  }
  return true;
}

// gamma(n+1) / (gamma(k+1) gamma(n-k+1))
bool binomial_function(acb_ptr z, acb_srcptr n, acb_srcptr k, int precision) {
  Ball argument, reciprocal;
  acb_add_ui(argument.get(), n, 1, precision);
  acb_gamma(z, argument.get(), precision);
  acb_sub(argument.get(), n, k, precision);
  acb_add_ui(argument.get(), argument.get(), 1, precision);
  acb_rgamma(reciprocal.get(), argument.get(), precision);
  acb_mul(z, z, reciprocal.get(), precision);
  acb_add_ui(argument.get(), k, 1, precision);
  acb_rgamma(reciprocal.get(), argument.get(), precision);
  acb_mul(z, z, reciprocal.get(), precision);
  return acb_is_finite(z);
}

}  // namespace zeroth::math

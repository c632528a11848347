// Rigorous evaluation with Arb (Johansson 2017).
#include "rewards/math/evaluate.h"

#include <algorithm>
#include <cmath>

namespace zeroth::math {

namespace {

// Sizes of the probe points; the sign column: +1, -1, or 0 for a sign per variable.
struct Probe {
  double scale;
  int sign;
};
constexpr Probe kProbes[Evaluator::kPoints] = {{1, 1},    {1, -1}, {3, 1},    {1, 0},
                                               {0.35, 1}, {3, -1}, {9, 1},    {0.35, -1},
                                               {3, 0},    {30, 1}, {0.35, 0}, {0.1, 1}};

bool is_real(acb_srcptr z) { return arb_is_zero(acb_imagref(z)); }

}  // namespace

// Keeps arguments of exponentials and circular functions in a range where evaluation is fast.
bool Evaluator::moderate(acb_srcptr z) {
  arf_t bound;
  arf_init(bound);
  acb_get_abs_ubound_arf(bound, z, 32);
  bool ok = arf_cmpabs_2exp_si(bound, 16) < 0;
  arf_clear(bound);
  limited_ |= !ok;
  return ok;
}

// The exponent of the ball's magnitude within +-40000 bits.
bool Evaluator::sane(acb_srcptr z) {
  if (!acb_is_finite(z)) return false;
  arf_t bound;
  arf_init(bound);
  acb_get_abs_ubound_arf(bound, z, 32);
  bool ok = arf_is_zero(bound) ||
            (arf_cmpabs_2exp_si(bound, 40000) < 0 && arf_cmpabs_2exp_si(bound, -40000) > 0);
  arf_clear(bound);
  limited_ |= !ok;
  return ok;
}

bool Evaluator::ball(Ref ref, int point, int precision, Domain domain, Ball* out) {
  return eval(ref, Context{point, precision, domain}, out->get());
}

bool Evaluator::eval_symbol(Ref ref, const Context& c, acb_ptr z) {
  const Node& node = pool_[ref];
  for (auto it = bindings_.rbegin(); it != bindings_.rend(); ++it) {
    if (it->first == node.data) {
      acb_set_si(z, it->second);
      return true;
    }
  }
  // (1/2 + u) * scale with u uniform in [0, 1), exact in binary.
  const std::string& name = pool_.name(ref);
  uint64_t h = node.op == Op::kCall ? argument_hash(ref, c.point) : hash_bytes(name);
  h = mix64(h + static_cast<uint64_t>(c.point));
  const Probe& probe = kProbes[c.point];
  double u = 0.5 + static_cast<double>(h >> 12) * 0x1p-52;
  double sign = probe.sign != 0 ? probe.sign : (h & 1 ? 1 : -1);
  acb_set_d(z, sign * u * probe.scale);
  return true;
}

bool Evaluator::eval(Ref ref, const Context& c, acb_ptr z) {
  if (!charge(1 + c.precision / 256)) return false;
  const Node node = pool_[ref];
  switch (node.op) {
    case Op::kNumber:
      acb_set_fmpq(z, pool_.value(ref).get(), c.precision);
      return true;
    case Op::kSymbol:
    case Op::kCall:
      return eval_symbol(ref, c, z);
    case Op::kPi:
      acb_const_pi(z, c.precision);
      return true;
    case Op::kEuler:
      arb_const_e(acb_realref(z), c.precision);
      arb_zero(acb_imagref(z));
      return true;
    case Op::kImaginary:
      acb_onei(z);
      return true;
    case Op::kAdd:
    case Op::kMul: {
      Ball part;
      if (node.op == Op::kAdd) {
        acb_zero(z);
      } else {
        acb_one(z);
      }
      for (int i = 0; i < node.count; ++i) {
        if (!eval(pool_.child(ref, i), c, part.get())) return false;
        if (node.op == Op::kAdd) {
          acb_add(z, z, part.get(), c.precision);
        } else {
          acb_mul(z, z, part.get(), c.precision);
        }
      }
      return sane(z);
    }
    case Op::kRatio:
      if (node.count != 2) return false;
      [[fallthrough]];
    case Op::kDiv: {
      Ball bottom;
      if (!eval(pool_.child(ref, 0), c, z) || !eval(pool_.child(ref, 1), c, bottom.get()))
        return false;
      if (acb_contains_zero(bottom.get())) return false;
      acb_div(z, z, bottom.get(), c.precision);
      return sane(z);
    }
    case Op::kPow:
      return eval_power(ref, c, z);
    case Op::kPercent:
      if (!eval(pool_.child(ref, 0), c, z)) return false;
      acb_div_ui(z, z, 100, c.precision);
      return true;
    case Op::kDegree: {
      Ball pi;
      if (!eval(pool_.child(ref, 0), c, z)) return false;
      acb_const_pi(pi.get(), c.precision);
      acb_mul(z, z, pi.get(), c.precision);
      acb_div_ui(z, z, 180, c.precision);
      return true;
    }
    case Op::kFunction:
      return eval_function(ref, c, z) && sane(z);
    case Op::kSum:
    case Op::kProduct:
      return eval_big(ref, c, z);
    case Op::kOpaque: {
      // Unknown operators: a value that depends on the structure alone.
      uint64_t h = mix64(pool_.hash(ref) + static_cast<uint64_t>(c.point));
      acb_set_d(z, 0.5 + static_cast<double>(h >> 12) * 0x1p-52);
      return true;
    }
    default:
      return false;
  }
}

bool Evaluator::eval_power(Ref ref, const Context& c, acb_ptr z) {
  Ref base = pool_.child(ref, 0), exponent = pool_.child(ref, 1);
  if (!eval(base, c, z)) return false;
  if (pool_.is_number(exponent)) {
    const Rational& e = pool_.value(exponent);
    if (e.bits() > 24) return false;
    if (e.is_integer()) {
      if (e.sign() < 0 && acb_contains_zero(z)) return false;
      acb_pow_fmpz(z, z, e.num(), c.precision);
      return sane(z);
    }
    // Real domain: roots of negatives are undefined, odd roots included (their principal value is
    // not real).
    if (c.domain == Domain::kReal && is_real(z) && !arb_is_nonnegative(acb_realref(z)))
      return false;
    if (arb_contains_zero(acb_realref(z)) && arb_contains_zero(acb_imagref(z))) {
      if (acb_is_zero(z)) return e.sign() > 0;
      return false;
    }
    if (fmpz_equal_si(e.den(), 2)) {
      acb_sqrt(z, z, c.precision);
      acb_pow_fmpz(z, z, e.num(), c.precision);
      return sane(z);
    }
    Ball power;
    acb_set_fmpq(power.get(), e.get(), c.precision);
    acb_pow(z, z, power.get(), c.precision);
    return sane(z);
  }
  Ball power;
  if (!eval(exponent, c, power.get()) || !moderate(power.get())) return false;
  if (acb_contains_zero(z)) return false;
  if (c.domain == Domain::kReal && is_real(z) && arb_is_negative(acb_realref(z)) &&
      !acb_is_int(power.get())) {
    // (-1)^n at a real n: the principal value is the usual extension, so that (-1)^(n+2) = (-1)^n.
    if (!pool_.is_number(base)) return false;
  }
  acb_pow(z, z, power.get(), c.precision);
  return sane(z);
}

bool Evaluator::eval_function(Ref ref, const Context& c, acb_ptr z) {
  Function f = static_cast<Function>(pool_[ref].data);
  if (!charge(4)) return false;
  Ball x;
  if (!eval(pool_.child(ref, 0), c, x.get())) return false;
  switch (f) {
    case Function::kLog: {
      if (acb_contains_zero(x.get())) return false;
      if (c.domain == Domain::kReal && !(is_real(x.get()) && arb_is_positive(x.real())))
        return false;
      Ref base = pool_.child(ref, 1);
      acb_log(z, x.get(), c.precision);
      if (pool_.is(base, Op::kEuler)) return true;
      Ball b;
      if (!eval(base, c, b.get()) || acb_contains_zero(b.get())) return false;
      if (c.domain == Domain::kReal && !(is_real(b.get()) && arb_is_positive(b.real())))
        return false;
      acb_log(b.get(), b.get(), c.precision);
      if (acb_contains_zero(b.get())) return false;
      acb_div(z, z, b.get(), c.precision);
      return true;
    }
    case Function::kSin:
    case Function::kCos:
    case Function::kTan:
    case Function::kCot:
    case Function::kSec:
    case Function::kCsc:
    case Function::kSinh:
    case Function::kCosh:
    case Function::kTanh:
    case Function::kCoth:
    case Function::kSech:
    case Function::kCsch:
      return moderate(x.get()) && eval_trigonometric(f, c, x.get(), z);
    case Function::kArcsin:
    case Function::kArccos:
    case Function::kArctan:
    case Function::kArccot:
    case Function::kArcsec:
    case Function::kArccsc:
    case Function::kArsinh:
    case Function::kArcosh:
    case Function::kArtanh:
      return eval_inverse(f, c, x.get(), z);
    default:
      return eval_discrete(f, c, ref, x.get(), z);
  }
}

bool Evaluator::eval_trigonometric(Function f, const Context& c, acb_ptr x, acb_ptr z) {
  switch (f) {
    case Function::kSin:
      acb_sin(z, x, c.precision);
      return true;
    case Function::kCos:
      acb_cos(z, x, c.precision);
      return true;
    case Function::kTan:
      acb_tan(z, x, c.precision);
      return true;
    case Function::kCot:
      acb_cot(z, x, c.precision);
      return true;
    case Function::kSec:
      acb_sec(z, x, c.precision);
      return true;
    case Function::kCsc:
      acb_csc(z, x, c.precision);
      return true;
    case Function::kSinh:
      acb_sinh(z, x, c.precision);
      return true;
    case Function::kCosh:
      acb_cosh(z, x, c.precision);
      return true;
    case Function::kTanh:
      acb_tanh(z, x, c.precision);
      return true;
    case Function::kCoth:
      acb_coth(z, x, c.precision);
      return true;
    case Function::kSech:
      acb_sech(z, x, c.precision);
      return true;
    default:
      acb_csch(z, x, c.precision);
      return true;
  }
}

bool Evaluator::eval_inverse(Function f, const Context& c, acb_ptr x, acb_ptr z) {
  bool reciprocal = f == Function::kArccot || f == Function::kArcsec || f == Function::kArccsc;
  if (reciprocal) {
    if (acb_contains_zero(x)) return false;
    acb_inv(x, x, c.precision);
  }
  switch (f) {
    case Function::kArcsin:
    case Function::kArccsc:
      acb_asin(z, x, c.precision);
      break;
    case Function::kArccos:
    case Function::kArcsec:
      acb_acos(z, x, c.precision);
      break;
    case Function::kArctan:
    case Function::kArccot:
      acb_atan(z, x, c.precision);
      break;
    case Function::kArsinh:
      acb_asinh(z, x, c.precision);
      break;
    case Function::kArcosh:
      acb_acosh(z, x, c.precision);
      break;
    default:
      acb_atanh(z, x, c.precision);
      break;
  }
  if (!acb_is_finite(z)) return false;
  // arcsin 2 has no real value; rounding may leave a tiny imaginary ball at the ends, which is
  // dropped.
  if (c.domain == Domain::kReal && !is_real(z)) {
    if (!arb_contains_zero(acb_imagref(z))) return false;
    arb_zero(acb_imagref(z));
  }
  return true;
}

bool Evaluator::eval_discrete(Function f, const Context& c, Ref ref, acb_ptr x, acb_ptr z) {
  switch (f) {
    case Function::kAbs:
      acb_abs(acb_realref(z), x, c.precision);
      arb_zero(acb_imagref(z));
      return true;
    case Function::kFloor:
    case Function::kCeil:
      if (!is_real(x)) return false;
      (f == Function::kFloor ? arb_floor : arb_ceil)(acb_realref(z), acb_realref(x), c.precision);
      arb_zero(acb_imagref(z));
      return arb_is_exact(acb_realref(z));
    case Function::kFactorial:
    case Function::kGamma:
      if (!moderate(x)) return false;
      if (!charge(64)) return false;
      if (f == Function::kFactorial) acb_add_ui(x, x, 1, c.precision);
      acb_gamma(z, x, c.precision);
      return acb_is_finite(z);
    case Function::kBinomial: {
      Ball k, n1, k1, d;
      if (!eval(pool_.child(ref, 1), c, k.get()) || !moderate(x) || !moderate(k.get()) ||
          !charge(200))
        return false;
      // gamma(n+1) / (gamma(k+1) gamma(n-k+1))
      acb_sub(d.get(), x, k.get(), c.precision);
      for (acb_ptr v : {d.get(), k.get()}) acb_add_ui(v, v, 1, c.precision);
      acb_add_ui(n1.get(), x, 1, c.precision);
      acb_gamma(z, n1.get(), c.precision);
      for (acb_ptr v : {d.get(), k.get()}) {
        acb_rgamma(k1.get(), v, c.precision);
        acb_mul(z, z, k1.get(), c.precision);
      }
      return acb_is_finite(z);
    }
    case Function::kMax:
    case Function::kMin: {
      if (!is_real(x)) return false;
      acb_set(z, x);
      Ball y;
      for (int i = 1; i < pool_[ref].count; ++i) {
        if (!eval(pool_.child(ref, i), c, y.get()) || !is_real(y.get())) return false;
        (f == Function::kMax ? arb_max : arb_min)(acb_realref(z), acb_realref(z), y.real(),
                                                  c.precision);
      }
      return true;
    }
    case Function::kRe:
      acb_set_arb(z, acb_realref(x));
      return true;
    case Function::kIm:
      acb_set_arb(z, acb_imagref(x));
      return true;
    case Function::kConj:
      acb_conj(z, x);
      return true;
    default: {
      // gcd, lcm, mod of symbols: a value that depends on the structure alone.
      uint64_t h = mix64(pool_.hash(ref) + static_cast<uint64_t>(c.point));
      acb_set_d(z, 0.5 + static_cast<double>(h >> 12) * 0x1p-52);
      return true;
    }
  }
}

// The integer bounds of a sum or product; false when they are symbolic.
bool Evaluator::sum_bounds(Ref sum, const Context& c, int64_t* from, int64_t* to) {
  auto bound = [&](Ref ref, int64_t* out) {
    if (pool_.is_number(ref)) return pool_.value(ref).to_int(out);
    if (bindings_.empty()) return false;  // only at integer points may symbolic bounds be integers
    Ball value;
    fmpz_t n;
    fmpz_init(n);
    bool integer =
        eval(ref, c, value.get()) && acb_get_unique_fmpz(n, value.get()) && fmpz_fits_si(n);
    if (integer) *out = fmpz_get_si(n);
    fmpz_clear(n);
    return integer;
  };
  return bound(pool_.child(sum, 2), from) && bound(pool_.child(sum, 3), to);
}

// Unrolls a sum or product with integer bounds.
bool Evaluator::eval_big(Ref ref, const Context& c, acb_ptr z) {
  Ref body = pool_.child(ref, 0), variable = pool_.child(ref, 1);
  int64_t lo = 0, hi = 0;
  if (!sum_bounds(ref, c, &lo, &hi)) {
    uint64_t h = mix64(pool_.hash(ref) + static_cast<uint64_t>(c.point));
    acb_set_d(z, 0.5 + static_cast<double>(h >> 12) * 0x1p-52);
    return true;
  }
  if (lo < -1'000'000 || hi > 1'000'000 || hi - lo >= pool_.budget().sum_terms) {
    limited_ = true;
    return false;
  }
  bool sum = pool_.is(ref, Op::kSum);
  if (sum) {
    acb_zero(z);
  } else {
    acb_one(z);
  }
  Ball part;
  bool ok = true;
  bindings_.emplace_back(pool_[variable].data, lo);
  for (int64_t k = lo; ok && k <= hi; ++k) {
    bindings_.back().second = k;
    ok = eval(body, c, part.get());
    if (!ok) break;
    if (sum) {
      acb_add(z, z, part.get(), c.precision);
    } else {
      acb_mul(z, z, part.get(), c.precision);
    }
  }
  bindings_.pop_back();
  return ok && sane(z);
}

}  // namespace zeroth::math

#include "rewards/math/enclosure.h"

#include "rewards/math/ball_functions.h"
#include "rewards/math/residue.h"

namespace zeroth::math {

namespace {

// The values of free variables at each probe point: their size, and their sign, +1, -1, or 0 for a
// sign per variable.
struct PointScale {
  double size;
  int sign;
};
constexpr PointScale kPointScales[kProbePoints] = {{1, 1},    {1, -1}, {3, 1},    {1, 0},
                                                   {0.35, 1}, {3, -1}, {9, 1},    {0.35, -1},
                                                   {3, 0},    {30, 1}, {0.35, 0}, {0.1, 1}};

// An upper bound of |z| below 2^bits.
bool below_power_of_two(acb_srcptr z, int bits) {
  arf_t bound;
  arf_init(bound);
  acb_get_abs_ubound_arf(bound, z, 32);
  const bool below = arf_cmpabs_2exp_si(bound, bits) < 0;
  arf_clear(bound);
  return below;
}

// u uniform in [1/2, 3/2), exact in binary.
double from_hash(uint64_t h) { return 0.5 + static_cast<double>(h >> 12) * 0x1p-52; }

// One evaluation of an expression at one probe.
class Encloser {
 public:
  Encloser(Evaluation& evaluation, const Probe& probe)
      : evaluation_(evaluation), pool_(evaluation.pool()), probe_(probe) {}

  bool value(Ref ref, acb_ptr z);

 private:
  bool terms(Ref ref, acb_ptr z);
  bool quotient(Ref ref, acb_ptr z);
  bool power(Ref ref, acb_ptr z);
  bool rational_power(const Rational& exponent, acb_ptr z);
  bool function(Ref ref, acb_ptr z);
  bool logarithm(Ref base, acb_srcptr x, acb_ptr z);
  bool one_argument(Function f, acb_ptr x, acb_ptr z);
  bool binomial(Ref lower, acb_srcptr n, acb_ptr z);
  bool extremum(Ref ref, acb_srcptr first, acb_ptr z);
  bool series(Ref ref, acb_ptr z);
  bool bound_of_series(Ref bound, int64_t* out);
  bool variable(Ref ref, acb_ptr z);
  bool structural(Ref ref, acb_ptr z);
  bool finite(acb_srcptr z);
  bool moderate(acb_srcptr z);
  bool in_domain_of_log(acb_srcptr x) const;

  Evaluation& evaluation_;
  const Pool& pool_;
  const Probe probe_;
};

// Keeps arguments of exponentials and circular functions in a range where evaluation is fast.
bool Encloser::moderate(acb_srcptr z) {
  const bool ok = below_power_of_two(z, 16);
  if (!ok) evaluation_.note_limit();
  return ok;
}

// A finite ball, its size within 2^+-40000.
bool Encloser::finite(acb_srcptr z) {
  if (!acb_is_finite(z)) return false;
  arf_t bound;
  arf_init(bound);
  acb_get_abs_ubound_arf(bound, z, 32);
  const bool ok = arf_is_zero(bound) ||
                  (arf_cmpabs_2exp_si(bound, 40000) < 0 && arf_cmpabs_2exp_si(bound, -40000) > 0);
  arf_clear(bound);
  if (!ok) evaluation_.note_limit();
  return ok;
}

// The real domain has logarithms of positive numbers only.
bool Encloser::in_domain_of_log(acb_srcptr x) const {
  if (acb_contains_zero(x)) return false;
  return probe_.domain != Domain::kReal || (is_real(x) && arb_is_positive(acb_realref(x)));
}

// A value that depends on the structure alone.
bool Encloser::structural(Ref ref, acb_ptr z) {
  acb_set_d(z, from_hash(mix64(pool_.hash(ref) + static_cast<uint64_t>(probe_.point))));
  return true;
}

// A variable, or an application of an unknown function.
bool Encloser::variable(Ref ref, acb_ptr z) {
  const Node& node = pool_[ref];
  if (const auto bound = evaluation_.bound(node.data)) {
    acb_set_si(z, *bound);
    return true;
  }
  const uint64_t name = node.op == Op::kCall ? hash_of_call(evaluation_, ref, probe_.point)
                                             : hash_bytes(pool_.name(ref));
  const uint64_t h = mix64(name + static_cast<uint64_t>(probe_.point));
  const PointScale& scale = kPointScales[probe_.point];
  const double sign = scale.sign != 0 ? scale.sign : (h & 1 ? 1 : -1);
  acb_set_d(z, sign * from_hash(h) * scale.size);
  return true;
}

bool Encloser::value(Ref ref, acb_ptr z) {
  if (!evaluation_.charge(1 + probe_.precision / 256)) return false;
  switch (pool_[ref].op) {
    case Op::kNumber:
      acb_set_fmpq(z, pool_.value(ref).get(), probe_.precision);
      return true;
    case Op::kSymbol:
    case Op::kCall:
      return variable(ref, z);
    case Op::kPi:
      acb_const_pi(z, probe_.precision);
      return true;
    case Op::kEuler:
      arb_const_e(acb_realref(z), probe_.precision);
      arb_zero(acb_imagref(z));
      return true;
    case Op::kImaginary:
      acb_onei(z);
      return true;
    case Op::kAdd:
    case Op::kMul:
      return terms(ref, z);
    case Op::kRatio:
      return pool_[ref].count == 2 && quotient(ref, z);
    case Op::kDiv:
      return quotient(ref, z);
    case Op::kPow:
      return power(ref, z);
    case Op::kPercent:
      if (!value(pool_.child(ref, 0), z)) return false;
      acb_div_ui(z, z, 100, probe_.precision);
      return true;
    case Op::kDegree: {
      Ball pi;
      if (!value(pool_.child(ref, 0), z)) return false;
      acb_const_pi(pi.get(), probe_.precision);
      acb_mul(z, z, pi.get(), probe_.precision);
      acb_div_ui(z, z, 180, probe_.precision);
      return true;
    }
    case Op::kFunction:
      return function(ref, z) && finite(z);
    case Op::kSum:
    case Op::kProduct:
      return series(ref, z);
    case Op::kOpaque:
      return structural(ref, z);
    default:
      return false;
  }
}

// A sum or product of terms that are there.
bool Encloser::terms(Ref ref, acb_ptr z) {
  const bool sum = pool_.is(ref, Op::kAdd);
  const auto combine = sum ? acb_add : acb_mul;
  acb_set_si(z, sum ? 0 : 1);
  Ball part;
  for (int i = 0; i < pool_[ref].count; ++i) {
    if (!value(pool_.child(ref, i), part.get())) return false;
    combine(z, z, part.get(), probe_.precision);
  }
  return finite(z);
}

bool Encloser::quotient(Ref ref, acb_ptr z) {
  Ball bottom;
  if (!value(pool_.child(ref, 0), z) || !value(pool_.child(ref, 1), bottom.get())) return false;
  if (acb_contains_zero(bottom.get())) return false;
  acb_div(z, z, bottom.get(), probe_.precision);
  return finite(z);
}

bool Encloser::power(Ref ref, acb_ptr z) {
  const Ref base = pool_.child(ref, 0), exponent = pool_.child(ref, 1);
  if (!value(base, z)) return false;
  if (pool_.is_number(exponent)) return rational_power(pool_.value(exponent), z);
  Ball power;
  if (!value(exponent, power.get()) || !moderate(power.get())) return false;
  if (acb_contains_zero(z)) return false;
  // (-1)^n at a real n: the principal value is the usual extension, so that (-1)^(n+2) = (-1)^n.
  if (probe_.domain == Domain::kReal && is_real(z) && arb_is_negative(acb_realref(z)) &&
      !acb_is_int(power.get()) && !pool_.is_number(base))
    return false;
  acb_pow(z, z, power.get(), probe_.precision);
  return finite(z);
}

// z raised to a rational exponent, in place.
bool Encloser::rational_power(const Rational& exponent, acb_ptr z) {
  if (exponent.bits() > 24) return false;
  if (exponent.is_integer()) {
    if (exponent.sign() < 0 && acb_contains_zero(z)) return false;
    acb_pow_fmpz(z, z, exponent.num(), probe_.precision);
    return finite(z);
  }
  // The real domain has no roots of negatives. Odd roots are no exception: their principal value is
  // not real.
  if (probe_.domain == Domain::kReal && is_real(z) && !arb_is_nonnegative(acb_realref(z)))
    return false;
  if (acb_contains_zero(z)) return acb_is_zero(z) && exponent.sign() > 0;
  if (fmpz_equal_si(exponent.den(), 2)) {
    acb_sqrt(z, z, probe_.precision);
    acb_pow_fmpz(z, z, exponent.num(), probe_.precision);
    return finite(z);
  }
  Ball power;
  acb_set_fmpq(power.get(), exponent.get(), probe_.precision);
  acb_pow(z, z, power.get(), probe_.precision);
  return finite(z);
}

bool Encloser::function(Ref ref, acb_ptr z) {
  const auto f = static_cast<Function>(pool_[ref].data);
  if (!evaluation_.charge(4)) return false;
  Ball x;
  if (!value(pool_.child(ref, 0), x.get())) return false;
  if (is_circular(f)) {
    if (!moderate(x.get())) return false;
    circular_function(f, z, x.get(), probe_.precision);
    return true;
  }
  if (is_inverse(f)) return inverse_function(f, z, x.get(), probe_);
  switch (f) {
    case Function::kLog:
      return logarithm(pool_.child(ref, 1), x.get(), z);
    case Function::kBinomial:
      return binomial(pool_.child(ref, 1), x.get(), z);
    case Function::kMax:
    case Function::kMin:
      return extremum(ref, x.get(), z);
    case Function::kGcd:
    case Function::kLcm:
    case Function::kMod:
    case Function::kDet:
    case Function::kTranspose:
      return structural(ref, z);
    default:
      return one_argument(f, x.get(), z);
  }
}

bool Encloser::logarithm(Ref base, acb_srcptr x, acb_ptr z) {
  if (!in_domain_of_log(x)) return false;
  acb_log(z, x, probe_.precision);
  if (pool_.is(base, Op::kEuler)) return true;
  Ball b;
  if (!value(base, b.get()) || !in_domain_of_log(b.get())) return false;
  acb_log(b.get(), b.get(), probe_.precision);
  if (acb_contains_zero(b.get())) return false;
  acb_div(z, z, b.get(), probe_.precision);
  return true;
}

// z = f(x) for the functions that are not elementary; x may change.
bool Encloser::one_argument(Function f, acb_ptr x, acb_ptr z) {
  switch (f) {
    case Function::kAbs:
      acb_abs(acb_realref(z), x, probe_.precision);
      arb_zero(acb_imagref(z));
      return true;
    case Function::kFloor:
    case Function::kCeil:
      if (!is_real(x)) return false;
      (f == Function::kFloor ? arb_floor : arb_ceil)(acb_realref(z), acb_realref(x),
                                                     probe_.precision);
      arb_zero(acb_imagref(z));
      return arb_is_exact(acb_realref(z));
    case Function::kFactorial:
    case Function::kGamma:
      if (!moderate(x) || !evaluation_.charge(64)) return false;
      if (f == Function::kFactorial) acb_add_ui(x, x, 1, probe_.precision);
      acb_gamma(z, x, probe_.precision);
      return acb_is_finite(z);
    case Function::kRe:
      acb_set_arb(z, acb_realref(x));
      return true;
    case Function::kIm:
      acb_set_arb(z, acb_imagref(x));
      return true;
    case Function::kConj:
      acb_conj(z, x);
      return true;
    default:
      return false;
  }
}

bool Encloser::binomial(Ref lower, acb_srcptr n, acb_ptr z) {
  Ball k;
  if (!value(lower, k.get()) || !moderate(n) || !moderate(k.get()) || !evaluation_.charge(200))
    return false;
  return binomial_function(z, n, k.get(), probe_.precision);
}

// The largest or smallest argument.
bool Encloser::extremum(Ref ref, acb_srcptr first, acb_ptr z) {
  if (!is_real(first)) return false;
  const bool largest = static_cast<Function>(pool_[ref].data) == Function::kMax;
  acb_set(z, first);
  Ball y;
  for (int i = 1; i < pool_[ref].count; ++i) {
    if (!value(pool_.child(ref, i), y.get()) || !is_real(y.get())) return false;
    (largest ? arb_max : arb_min)(acb_realref(z), acb_realref(z), y.real(), probe_.precision);
  }
  return true;
}

// An integer bound of a sum or product; false when it is symbolic. Symbolic bounds may be integers
// only where variables are bound to integers.
bool Encloser::bound_of_series(Ref bound, int64_t* out) {
  if (pool_.is_number(bound)) return pool_.value(bound).to_int(out);
  if (!evaluation_.binds_any()) return false;
  Ball z;
  Rational n;
  const bool integer =
      value(bound, z.get()) && acb_get_unique_fmpz(fmpq_numref(n.get()), z.get()) && n.to_int(out);
  return integer;
}

// A sum or product over an index, unrolled.
bool Encloser::series(Ref ref, acb_ptr z) {
  const Ref body = pool_.child(ref, 0), variable = pool_.child(ref, 1);
  int64_t from = 0, to = 0;
  if (!bound_of_series(pool_.child(ref, 2), &from) || !bound_of_series(pool_.child(ref, 3), &to))
    return structural(ref, z);
  if (from < -1'000'000 || to > 1'000'000 || to - from >= pool_.budget().sum_terms) {
    evaluation_.note_limit();
    return false;
  }
  const bool sum = pool_.is(ref, Op::kSum);
  const auto combine = sum ? acb_add : acb_mul;
  acb_set_si(z, sum ? 0 : 1);
  Ball part;
  Evaluation::Scope scope(evaluation_);
  scope.bind(pool_[variable].data, from);
  for (int64_t k = from; k <= to; ++k) {
    scope.set_last(k);
    if (!value(body, part.get())) return false;
    combine(z, z, part.get(), probe_.precision);
  }
  return finite(z);
}

}  // namespace

bool enclose(Evaluation& evaluation, Ref ref, const Probe& probe, Ball* out) {
  return Encloser(evaluation, probe).value(ref, out->get());
}

}  // namespace zeroth::math

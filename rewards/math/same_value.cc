#include "rewards/math/same_value.h"

#include <algorithm>
#include <cmath>

#include "rewards/math/enclosure.h"
#include "rewards/math/residue.h"

namespace zeroth::math {

namespace {

constexpr int kConstantPrecision = 3328;  // bits: 1,000 decimals
constexpr int kFunctionPrecision = 640;
constexpr int kFirstPrecision = 128;
constexpr int kNeededPoints = 4;  // agreeing probe points, of the twelve tried

enum class Difference { kEqual, kDifferent, kUnknown };

// |difference| <= 2^(-precision/2) * max(1, |value|)
bool is_narrow(acb_srcptr difference, acb_srcptr value, int precision) {
  arf_t bound, size;
  arf_init(bound);
  arf_init(size);
  acb_get_abs_ubound_arf(bound, difference, 32);
  acb_get_abs_ubound_arf(size, value, 32);
  if (arf_cmp_si(size, 1) < 0) arf_one(size);
  arf_mul_2exp_si(size, size, -precision / 2);
  const bool narrow = arf_cmp(bound, size) <= 0;
  arf_clear(bound);
  arf_clear(size);
  return narrow;
}

// Compares a and b at one point. The precision rises until the enclosures are apart, or agree to
// `max_precision` bits.
Difference compare_at(Evaluation& evaluation, Ref a, Ref b, int point, Domain domain,
                      int max_precision) {
  int precision = kFirstPrecision;
  while (true) {
    Ball va, vb, difference;
    const Probe probe{point, precision, domain};
    if (!enclose(evaluation, a, probe, &va) || !enclose(evaluation, b, probe, &vb))
      return Difference::kUnknown;
    if (domain == Domain::kReal && (!is_real(va.get()) || !is_real(vb.get())))
      return Difference::kUnknown;
    acb_sub(difference.get(), va.get(), vb.get(), precision);
    if (!acb_contains_zero(difference.get())) return Difference::kDifferent;
    const bool narrow = is_narrow(difference.get(), va.get(), precision);
    if (precision >= max_precision) return narrow ? Difference::kEqual : Difference::kUnknown;
    // Agreement is confirmed once, at the highest precision. A wide enclosure gets more bits step
    // by step.
    precision = narrow ? max_precision : std::min(5 * precision, max_precision);
  }
}

// Algebraic expressions: two residues decide against. For equality an enclosure at two points must
// agree as well, because the prime is public. kUnknown for expressions without residues.
Difference compare_residues(Evaluation& evaluation, Ref a, Ref b) {
  for (int point = 0; point < 2; ++point) {
    const auto ra = residue(evaluation, a, point);
    const auto rb = ra ? residue(evaluation, b, point) : std::nullopt;
    if (!rb) return Difference::kUnknown;
    if (*ra != *rb) return Difference::kDifferent;
  }
  for (int point : {0, 3}) {
    if (compare_at(evaluation, a, b, point, Domain::kComplex, kFirstPrecision) ==
        Difference::kDifferent)
      return Difference::kDifferent;
  }
  return Difference::kEqual;
}

// Agreement at kNeededPoints of the probe points where both sides are defined, or at two at least
// when there are no more, and no disagreement.
Difference compare_at_points(Evaluation& evaluation, Ref a, Ref b, Domain domain) {
  int agreed = 0;
  for (int point = 0; point < kProbePoints && agreed < kNeededPoints; ++point) {
    const Difference difference = compare_at(evaluation, a, b, point, domain,
                                             point == 0 ? kFunctionPrecision : kFirstPrecision);
    if (difference == Difference::kDifferent) return difference;
    agreed += difference == Difference::kEqual;
    if (evaluation.exhausted()) return Difference::kUnknown;
  }
  return agreed >= 2 ? Difference::kEqual : Difference::kUnknown;
}

// Symbols in the bounds of sums and products; one that stands there twice comes twice.
std::vector<int32_t> bound_symbols(const Pool& pool, Ref ref) {
  std::vector<int32_t> out;
  const bool series = pool.is(ref, Op::kSum) || pool.is(ref, Op::kProduct);
  for (int i = 0; i < pool[ref].count; ++i) {
    const Ref kid = pool.child(ref, i);
    for (int32_t id : series&& i >= 2 ? pool.free_symbols(kid) : bound_symbols(pool, kid))
      out.push_back(id);
  }
  return out;
}

// 1 + 2 + .. + n = n (n + 1) / 2: bounds take integer values, the other variables those of the
// probe points.
bool same_at_integers(Evaluation& evaluation, Ref a, Ref b, const std::vector<int32_t>& symbols) {
  if (symbols.size() > 8) return false;
  int agreed = 0;
  for (int64_t n : {3, 4, 6, 9, 13, 2}) {
    Evaluation::Scope scope(evaluation);
    // Symbols get different values, as a rule.
    for (const int32_t symbol : symbols) scope.bind(symbol, n + 2 * symbol % 7);
    const Difference difference =
        compare_at(evaluation, a, b, static_cast<int>(n % kProbePoints), Domain::kReal, 128);
    if (difference == Difference::kDifferent) return false;
    agreed += difference == Difference::kEqual;
  }
  return agreed >= 3;
}

// +1 and -1 for the ends of the line, 0 for anything else.
int sign_of_infinity(const Pool& pool, Ref ref) {
  if (pool.is(ref, Op::kInfinity)) return 1;
  const bool multiple = pool.is(ref, Op::kMul) && pool[ref].count == 2 &&
                        pool.is(pool.child(ref, 1), Op::kInfinity) &&
                        pool.is_number(pool.child(ref, 0));
  return multiple ? pool.value(pool.child(ref, 0)).sign() : 0;
}

// The integer nearest to value * 10^decimals, halves to even, as IEEE and SymPy round.
Rational scaled_rounding(const Rational& value, int decimals) {
  Rational scaled, power, whole, rest;
  fmpz_set_ui(fmpq_numref(power.get()), 10);
  fmpz_pow_ui(fmpq_numref(power.get()), power.num(), static_cast<ulong>(decimals));
  fmpq_mul(scaled.get(), value.get(), power.get());
  fmpz* const quotient = fmpq_numref(whole.get());
  fmpz* const twice = fmpq_numref(rest.get());
  fmpz_fdiv_qr(quotient, twice, scaled.num(), scaled.den());
  fmpz_mul_2exp(twice, twice, 1);
  const int half = fmpz_cmp(twice, scaled.den());
  if (half > 0 || (half == 0 && fmpz_is_odd(quotient))) fmpz_add_ui(quotient, quotient, 1);
  return whole;
}

// Likewise for a real constant; nullopt when its enclosure leaves two integers, or is not real.
std::optional<Rational> scaled_rounding(Evaluation& evaluation, Ref ref, int decimals) {
  if (evaluation.pool().is_number(ref))
    return scaled_rounding(evaluation.pool().value(ref), decimals);
  Ball value;
  if (!enclose(evaluation, ref, {0, 256, Domain::kReal}, &value) || !is_real(value.get()))
    return std::nullopt;
  Ball shift;
  arb_ui_pow_ui(shift.real(), 10, static_cast<ulong>(decimals), 256);
  arb_mul(value.real(), value.real(), shift.real(), 256);
  arb_set_d(shift.real(), 0.5);
  arb_add(value.real(), value.real(), shift.real(), 256);
  arb_floor(value.real(), value.real(), 256);
  Rational whole;
  if (!arb_get_unique_fmpz(fmpq_numref(whole.get()), value.real())) return std::nullopt;
  return whole;
}

std::optional<double> approximate(Evaluation& evaluation, Ref ref) {
  Ball value;
  if (!enclose(evaluation, ref, {0, kFirstPrecision, Domain::kReal}, &value) ||
      !is_real(value.get()))
    return std::nullopt;
  return arf_get_d(arb_midref(value.real()), ARF_RND_NEAR);
}

}  // namespace

bool same_value(Evaluation& evaluation, Ref a, Ref b) {
  const Pool& pool = evaluation.pool();
  if (pool.is_number(a) && pool.is_number(b)) return pool.value(a) == pool.value(b);
  if (pool.hash(a) == pool.hash(b)) return true;
  const bool infinite = pool.contains(a, Op::kInfinity);
  if (infinite || pool.contains(b, Op::kInfinity)) {
    const auto sign = order(evaluation, a, b);
    return sign && *sign == 0 && infinite == pool.contains(b, Op::kInfinity);
  }
  const Difference algebraic = compare_residues(evaluation, a, b);
  if (algebraic != Difference::kUnknown) return algebraic == Difference::kEqual;
  if (pool.is_constant(a) && pool.is_constant(b))
    return compare_at(evaluation, a, b, 0, Domain::kComplex, kConstantPrecision) ==
           Difference::kEqual;
  std::vector<int32_t> integers = bound_symbols(pool, a);
  for (int32_t id : bound_symbols(pool, b)) integers.push_back(id);
  if (!integers.empty()) return same_at_integers(evaluation, a, b, integers);
  if (!pool.contains(a, Op::kImaginary) && !pool.contains(b, Op::kImaginary)) {
    const Difference real = compare_at_points(evaluation, a, b, Domain::kReal);
    if (real != Difference::kUnknown) return real == Difference::kEqual;
  }
  return compare_at_points(evaluation, a, b, Domain::kComplex) == Difference::kEqual;
}

std::optional<std::strong_ordering> order(Evaluation& evaluation, Ref a, Ref b) {
  const Pool& pool = evaluation.pool();
  if (pool.is_number(a) && pool.is_number(b))
    return fmpq_cmp(pool.value(a).get(), pool.value(b).get()) <=> 0;
  const int ia = sign_of_infinity(pool, a), ib = sign_of_infinity(pool, b);
  if (ia != 0 || ib != 0) return ia <=> ib;
  const Difference difference = compare_at(evaluation, a, b, 0, Domain::kReal, kFunctionPrecision);
  if (difference == Difference::kUnknown) return std::nullopt;
  if (difference == Difference::kEqual) return std::strong_ordering::equal;
  Ball va, vb, d;
  const Probe probe{0, kFunctionPrecision, Domain::kReal};
  if (!enclose(evaluation, a, probe, &va) || !enclose(evaluation, b, probe, &vb))
    return std::nullopt;
  acb_sub(d.get(), va.get(), vb.get(), kFunctionPrecision);
  return arb_is_positive(d.real()) ? std::strong_ordering::greater : std::strong_ordering::less;
}

// The factor at one point, then a - factor * b = 0 elsewhere, through cross products.
bool proportional(Evaluation& evaluation, Ref a, Ref b, bool either_sign) {
  constexpr int kPrecision = 192;
  const Pool& pool = evaluation.pool();
  if (pool.full() || pool.is_constant(a) || pool.is_constant(b)) return false;
  int agreed = 0;
  Ball a0, b0;
  bool have = false;
  for (int point = 0; point < kProbePoints && agreed < kNeededPoints; ++point) {
    Ball va, vb, left, right;
    const Probe probe{point, kPrecision, Domain::kReal};
    if (!enclose(evaluation, a, probe, &va) || !enclose(evaluation, b, probe, &vb)) continue;
    if (acb_contains_zero(vb.get()) || acb_contains_zero(va.get())) {
      if (acb_contains_zero(va.get()) != acb_contains_zero(vb.get())) return false;
      continue;
    }
    if (!is_real(va.get()) || !is_real(vb.get())) continue;
    if (!either_sign && arb_is_positive(va.real()) != arb_is_positive(vb.real())) return false;
    if (!have) {
      acb_set(a0.get(), va.get());
      acb_set(b0.get(), vb.get());
      have = true;
      continue;
    }
    acb_mul(left.get(), a0.get(), vb.get(), kPrecision);
    acb_mul(right.get(), b0.get(), va.get(), kPrecision);
    acb_sub(left.get(), left.get(), right.get(), kPrecision);
    if (!acb_contains_zero(left.get())) return false;
    ++agreed;
  }
  return agreed >= 2;
}

bool same_decimals(Evaluation& evaluation, Ref a, Ref b) {
  const int decimals = evaluation.decimals();
  if (!evaluation.pool().is_constant(a) || !evaluation.pool().is_constant(b)) return false;
  const auto rounded_a = scaled_rounding(evaluation, a, decimals);
  const auto rounded_b = rounded_a ? scaled_rounding(evaluation, b, decimals) : std::nullopt;
  if (!rounded_b || !(*rounded_a == *rounded_b)) return false;
  const auto x = approximate(evaluation, a), y = approximate(evaluation, b);
  if (!x || !y) return false;
  return std::fabs(*x - *y) <= 0.02 * std::max(std::fabs(*x), std::fabs(*y)) + 1e-300;
}

}  // namespace zeroth::math

// Whether two scalars are equal: exact, modular, then interval evidence. Order and rounding of
// constants.
#include <algorithm>

#include "rewards/math/evaluate.h"

namespace zeroth::math {

namespace {
constexpr int kConstantPrecision = 3328;  // bits: 1,000 decimals
constexpr int kFunctionPrecision = 640;
constexpr int kNeededPoints = 4;  // agreeing probe points, of the twelve tried

bool is_real(acb_srcptr z) { return arb_is_zero(acb_imagref(z)); }
}  // namespace

bool Evaluator::same_value(Ref a, Ref b) {
  if (pool_.is_number(a) && pool_.is_number(b)) return pool_.value(a) == pool_.value(b);
  if (pool_.hash(a) == pool_.hash(b)) return true;
  if (pool_.is(a, Op::kInfinity) || pool_.is(b, Op::kInfinity) ||
      pool_.contains(a, Op::kInfinity) || pool_.contains(b, Op::kInfinity)) {
    auto sign = order(a, b);
    return sign && *sign == 0 &&
           pool_.contains(a, Op::kInfinity) == pool_.contains(b, Op::kInfinity);
  }
  // Algebraic expressions: two residues decide against, and for after a look at one enclosure (the
  // prime is public).
  bool algebraic = true;
  for (int point = 0; point < 2 && algebraic; ++point) {
    auto ra = residue(a, point);
    auto rb = ra ? residue(b, point) : std::nullopt;
    if (!rb) {
      algebraic = false;
    } else if (*ra != *rb) {
      return false;
    }
  }
  if (algebraic) {
    Domain domain = Domain::kComplex;
    return compare_at(a, b, 0, domain, 128) != Difference::kDifferent &&
           compare_at(a, b, 3, domain, 128) != Difference::kDifferent;
  }
  if (pool_.is_constant(a) && pool_.is_constant(b)) return same_constant(a, b);
  std::vector<int32_t> integers = bound_symbols(a);
  for (int32_t id : bound_symbols(b)) integers.push_back(id);
  if (!integers.empty()) return same_at_integers(a, b, integers);
  bool decided = false;
  bool imaginary = pool_.contains(a, Op::kImaginary) || pool_.contains(b, Op::kImaginary);
  if (!imaginary) {
    bool same = same_at_points(a, b, Domain::kReal, &decided);
    if (decided) return same;
  }
  bool same = same_at_points(a, b, Domain::kComplex, &decided);
  return decided && same;
}

// Symbols in the bounds of sums and products.
std::vector<int32_t> Evaluator::bound_symbols(Ref ref) const {
  std::vector<int32_t> out;
  bool big = pool_.is(ref, Op::kSum) || pool_.is(ref, Op::kProduct);
  for (int i = 0; i < pool_[ref].count; ++i) {
    Ref kid = pool_.child(ref, i);
    for (int32_t id : big&& i >= 2 ? pool_.free_symbols(kid) : bound_symbols(kid))
      out.push_back(id);
  }
  return out;
}

// 1 + 2 + .. + n = n (n + 1) / 2: bounds take integer values, the other variables those of the
// probe points.
bool Evaluator::same_at_integers(Ref a, Ref b, const std::vector<int32_t>& symbols) {
  if (symbols.size() > 8) return false;
  int agreed = 0;
  for (int64_t n : {3, 4, 6, 9, 13, 2}) {
    for (size_t i = 0; i < symbols.size(); ++i) bindings_.emplace_back(symbols[i], n);
    // Distinct symbols get distinct values; repeated ones the value bound last, which is found
    // first.
    for (size_t i = 0; i < symbols.size(); ++i)
      bindings_[bindings_.size() - symbols.size() + i].second = n + 2 * symbols[i] % 7;
    Difference difference = compare_at(a, b, static_cast<int>(n % kPoints), Domain::kReal, 128);
    bindings_.resize(bindings_.size() - symbols.size());
    if (difference == Difference::kDifferent) return false;
    agreed += difference == Difference::kEqual;
  }
  return agreed >= 3;
}

bool Evaluator::same_constant(Ref a, Ref b) {
  return compare_at(a, b, 0, Domain::kComplex, kConstantPrecision) == Difference::kEqual;
}

// Agreement at kNeededPoints of the probe points where both sides are defined, and no disagreement.
bool Evaluator::same_at_points(Ref a, Ref b, Domain domain, bool* decided) {
  int agreed = 0;
  for (int point = 0; point < kPoints && agreed < kNeededPoints; ++point) {
    switch (compare_at(a, b, point, domain, point == 0 ? kFunctionPrecision : 128)) {
      case Difference::kDifferent:
        *decided = true;
        return false;
      case Difference::kEqual:
        ++agreed;
        break;
      case Difference::kUnknown:
        break;
    }
    if (exhausted()) return false;
  }
  *decided = agreed >= 2;
  return agreed >= 2;
}

Difference Evaluator::compare_at(Ref a, Ref b, int point, Domain domain, int max_precision) {
  int precision = 128;
  while (true) {
    Ball va, vb, d;
    if (!ball(a, point, precision, domain, &va) || !ball(b, point, precision, domain, &vb))
      return Difference::kUnknown;
    if (domain == Domain::kReal && (!is_real(va.get()) || !is_real(vb.get())))
      return Difference::kUnknown;
    acb_sub(d.get(), va.get(), vb.get(), precision);
    if (!acb_contains_zero(d.get())) return Difference::kDifferent;
    // |d| <= 2^(-precision/2) * max(1, |a|): the enclosure is narrow.
    arf_t bound, size;
    arf_init(bound);
    arf_init(size);
    acb_get_abs_ubound_arf(bound, d.get(), 32);
    acb_get_abs_ubound_arf(size, va.get(), 32);
    if (arf_cmp_si(size, 1) < 0) arf_one(size);
    arf_mul_2exp_si(size, size, -precision / 2);
    bool narrow = arf_cmp(bound, size) <= 0;
    arf_clear(bound);
    arf_clear(size);
    if (precision >= max_precision) return narrow ? Difference::kEqual : Difference::kUnknown;
    // Agreement is confirmed once, at the highest precision; a wide enclosure gets more bits step
    // by step.
    precision = narrow ? max_precision : std::min(5 * precision, max_precision);
  }
}

std::optional<int> Evaluator::order(Ref a, Ref b) {
  if (pool_.is_number(a) && pool_.is_number(b)) {
    int sign = fmpq_cmp(pool_.value(a).get(), pool_.value(b).get());
    return sign < 0 ? -1 : sign > 0 ? 1 : 0;
  }
  auto infinite = [&](Ref r) {
    if (pool_.is(r, Op::kInfinity)) return 1;
    bool negative = pool_.is(r, Op::kMul) && pool_[r].count == 2 &&
                    pool_.is(pool_.child(r, 1), Op::kInfinity) &&
                    pool_.is_number(pool_.child(r, 0));
    return negative ? pool_.value(pool_.child(r, 0)).sign() : 0;
  };
  int ia = infinite(a), ib = infinite(b);
  if (ia != 0 || ib != 0) return ia < ib ? -1 : ia > ib ? 1 : 0;
  Difference difference = compare_at(a, b, 0, Domain::kReal, 640);
  if (difference == Difference::kUnknown) return std::nullopt;
  if (difference == Difference::kEqual) return 0;
  Ball va, vb, d;
  if (!ball(a, 0, 640, Domain::kReal, &va) || !ball(b, 0, 640, Domain::kReal, &vb))
    return std::nullopt;
  acb_sub(d.get(), va.get(), vb.get(), 640);
  return arb_is_positive(d.real()) ? 1 : -1;
}

bool Evaluator::scaled_rounding(Ref ref, int decimals, Rational* out) {
  fmpz_t scale;
  if (pool_.is_number(ref)) {
    fmpz_init(scale);
    fmpz_set_ui(scale, 10);
    fmpz_pow_ui(scale, scale, static_cast<ulong>(decimals));
    Rational scaled;
    fmpq_mul_fmpz(scaled.get(), pool_.value(ref).get(), scale);
    // Half to even, as IEEE and SymPy round.
    fmpz_mul_2exp(scale, scaled.num(), 1);
    fmpz_t q, r, twice;
    fmpz_init(q);
    fmpz_init(r);
    fmpz_init(twice);
    fmpz_fdiv_qr(q, r, scaled.num(), scaled.den());
    fmpz_mul_2exp(twice, r, 1);
    int half = fmpz_cmp(twice, scaled.den());
    if (half > 0 || (half == 0 && fmpz_is_odd(q))) fmpz_add_ui(q, q, 1);
    fmpq_set_fmpz(out->get(), q);
    fmpz_clear(q);
    fmpz_clear(r);
    fmpz_clear(twice);
    fmpz_clear(scale);
    return true;
  }
  Ball value;
  if (!ball(ref, 0, 256, Domain::kReal, &value) || !is_real(value.get())) return false;
  arb_t power;
  arb_init(power);
  arb_ui_pow_ui(power, 10, static_cast<ulong>(decimals), 256);
  arb_mul(value.real(), value.real(), power, 256);
  arb_set_d(power, 0.5);
  arb_add(value.real(), value.real(), power, 256);
  arb_floor(value.real(), value.real(), 256);
  arb_clear(power);
  fmpz_init(scale);
  bool unique = arb_get_unique_fmpz(scale, value.real());
  if (unique) fmpq_set_fmpz(out->get(), scale);
  fmpz_clear(scale);
  return unique;
}

std::optional<double> Evaluator::approximate(Ref ref) {
  Ball value;
  if (!ball(ref, 0, 128, Domain::kReal, &value) || !is_real(value.get())) return std::nullopt;
  return arf_get_d(arb_midref(value.real()), ARF_RND_NEAR);
}

}  // namespace zeroth::math

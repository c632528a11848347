// Whether two scalars are equal: exact, modular, then interval evidence.
#include "rewards/math/evaluate.h"

namespace zeroth::math {

namespace {
constexpr int kConstantPrecision = 3328;  // bits: 1,000 decimals
constexpr int kFunctionPrecision = 640;
constexpr int kNeededPoints = 4;  // agreeing probe points, of the twelve tried
}  // namespace

bool Evaluator::same_value(Ref a, Ref b) {
  if (pool_.is_number(a) && pool_.is_number(b)) return pool_.value(a) == pool_.value(b);
  if (pool_.hash(a) == pool_.hash(b)) return true;
  if (pool_.is(a, Op::kInfinity) || pool_.is(b, Op::kInfinity) || pool_.contains(a, Op::kInfinity) ||
      pool_.contains(b, Op::kInfinity)) {
    auto sign = order(a, b);
    return sign && *sign == 0 && pool_.contains(a, Op::kInfinity) == pool_.contains(b, Op::kInfinity);
  }
  // Algebraic expressions: two residues decide against, and for after a look at one enclosure (the prime is public).
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
  bool decided = false;
  bool imaginary = pool_.contains(a, Op::kImaginary) || pool_.contains(b, Op::kImaginary);
  if (!imaginary) {
    bool same = same_at_points(a, b, Domain::kReal, &decided);
    if (decided) return same;
  }
  bool same = same_at_points(a, b, Domain::kComplex, &decided);
  return decided && same;
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

}  // namespace zeroth::math

// Values of expressions at probe points: residues modulo a prime for algebraic identities, rigorous
// balls (Arb) for the rest. Every variable has a fixed pseudo-random value per point, derived from
// its name.
#pragma once

#include <acb.h>

#include <optional>
#include <utility>
#include <vector>

#include "rewards/math/expr.h"

namespace zeroth::math {

// p = 44 * 8 * (3*5*7*..*43) + 1, a 61-bit prime. Since p = 1 modulo 8 and modulo every odd prime
// up to 43, quadratic reciprocity makes -1, 2, 3, 5, .., 43 squares modulo p. Hence there is a ring
// homomorphism from Z[i, sqrt 2, .., sqrt 43, x, y, ..] (pi and e count as variables) and most of
// its fractions to F_p: equal expressions have equal residues, and different ones differ at a
// random point with probability at least 1 - degree / p (Schwartz 1980, Zippel 1979).
constexpr uint64_t kPrime = 2302565994373925281ULL;

// An acb_t with a scope.
class Ball {
 public:
  Ball() { acb_init(z_); }
  Ball(const Ball&) = delete;
  Ball& operator=(const Ball&) = delete;
  ~Ball() { acb_clear(z_); }
  acb_ptr get() { return z_; }
  acb_srcptr get() const { return z_; }
  arb_ptr real() { return acb_realref(z_); }
  arb_ptr imag() { return acb_imagref(z_); }

 private:
  acb_t z_;
};

enum class Domain {
  kReal,    // a root or logarithm of a negative number is undefined
  kComplex  // principal values
};

enum class Difference { kEqual, kDifferent, kUnknown };

class Evaluator {
 public:
  explicit Evaluator(Pool& pool) : pool_(pool), work_(pool.budget().work) {}

  // Ran out of steps, or met a number, sum or product beyond the budget: "no" is "not shown" then.
  bool exhausted() const { return work_ < 0 || limited_; }

  // Residue at probe point `point`; nullopt when the expression is not algebraic in the sense
  // above, or divides by 0.
  std::optional<uint64_t> residue(Ref ref, int point);

  // Encloses the value at probe point `point` (0..kPoints-1) with `precision` bits. False when
  // undefined, over budget or not a finite number.
  bool ball(Ref ref, int point, int precision, Domain domain, Ball* out);
  static constexpr int kPoints = 12;

  // Compares a - b at one point, raising the precision until the enclosure separates the values or
  // shows agreement to that precision.
  Difference compare_at(Ref a, Ref b, int point, Domain domain, int max_precision);

  // Whether two scalars are the same function (or constant). Over budget counts as not equal.
  bool same_value(Ref a, Ref b);

  // Sign of a - b for real constants: -1, 0, 1; nullopt when undefined.
  std::optional<int> order(Ref a, Ref b);

  // Nearest integer of value * 10^decimals for a real constant.
  bool scaled_rounding(Ref ref, int decimals, Rational* out);
  // An approximation for people and size checks.
  std::optional<double> approximate(Ref ref);

 private:
  struct Context {
    int point;
    int precision;
    Domain domain;
  };
  bool charge(int64_t steps) {
    work_ -= steps;
    return work_ >= 0;
  }
  bool bound_integer(Ref ref, int64_t* out);
  std::optional<uint64_t> residue_of_sum(Ref ref, int point);
  std::optional<uint64_t> residue_of_factorial(Ref argument);
  std::optional<uint64_t> residue_of_power(Ref base, Ref exponent, int point);
  std::optional<uint64_t> residue_of_root(const Rational& radicand);
  bool eval(Ref ref, const Context& c, acb_ptr z);
  bool eval_symbol(Ref ref, const Context& c, acb_ptr z);
  bool eval_power(Ref ref, const Context& c, acb_ptr z);
  bool eval_function(Ref ref, const Context& c, acb_ptr z);
  bool eval_trigonometric(Function f, const Context& c, acb_ptr x, acb_ptr z);
  bool eval_inverse(Function f, const Context& c, acb_ptr x, acb_ptr z);
  bool eval_discrete(Function f, const Context& c, Ref ref, acb_ptr x, acb_ptr z);
  bool eval_big(Ref ref, const Context& c, acb_ptr z);
  uint64_t argument_hash(Ref call, int point);
  bool same_constant(Ref a, Ref b);
  std::vector<int32_t> bound_symbols(Ref ref) const;
  bool same_at_integers(Ref a, Ref b, const std::vector<int32_t>& symbols);
  bool same_at_points(Ref a, Ref b, Domain domain, bool* decided);

  bool sum_bounds(Ref sum, const Context& c, int64_t* from, int64_t* to);
  bool sane(acb_srcptr z);
  bool moderate(acb_srcptr z);

  Pool& pool_;
  int64_t work_;
  bool limited_ = false;
  std::vector<std::pair<int32_t, int64_t>> bindings_;  // bound variables of sums
};

}  // namespace zeroth::math

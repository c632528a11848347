#include "rewards/math/solution_set.h"

#include <algorithm>
#include <span>

#include "rewards/math/point_set.h"
#include "rewards/math/relation.h"
#include "rewards/math/same_value.h"

namespace zeroth::math {

namespace {

Ref real_line(Pool& pool) {
  return pool.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool.intern("R"));
}

// The points below `end`; with it unless `strict`.
Ref ray_below(Pool& pool, Ref end, bool strict) {
  const Ref minus_infinity = pool.neg(pool.leaf(Op::kInfinity));
  return pool.make(Op::kInterval, {minus_infinity, end}, 0,
                   static_cast<uint8_t>(kOpenLeft | (strict ? kOpenRight : 0)));
}

Ref ray_above(Pool& pool, Ref end, bool strict) {
  const Ref infinity = pool.leaf(Op::kInfinity);
  return pool.make(Op::kInterval, {end, infinity}, 0,
                   static_cast<uint8_t>(kOpenRight | (strict ? kOpenLeft : 0)));
}

// `whole` (op) `part`; `part` alone when `whole` is still kNoRef.
Ref joined(Pool& pool, Op op, Ref whole, Ref part) {
  return whole == kNoRef ? part : pool.make(op, {whole, part});
}

// left (code) right, for one variable.
struct Inequality {
  Ref left;
  RelationCode code;
  Ref right;
};

Ref solve(Evaluation& evaluation, Inequality inequality, int32_t variable);

// polynomial (code) 0, where the polynomial is a v^2 + b v + c with rational coefficients and two
// real zeros.
Ref solve_quadratic(Evaluation& evaluation, Ref polynomial, RelationCode code, int32_t variable) {
  Pool& pool = evaluation.pool();
  std::vector<Ref> at;
  for (int i = 0; i < 4; ++i) {
    at.push_back(pool.substitute(polynomial, variable, pool.integer(i)));
    if (at.back() == kNoRef || !pool.is_number(at.back())) return kNoRef;
  }
  const Ref half = pool.number(Rational(1, 2));
  const Ref a = pool.mul(half, pool.add(pool.sub(at[2], at[1]), pool.sub(at[0], at[1])));
  const Ref b = pool.sub(pool.sub(at[1], at[0]), a), c = at[0];
  const Ref x = pool.make(Op::kSymbol, std::initializer_list<Ref>{}, variable);
  const Ref model = pool.add(pool.add(pool.mul(a, pool.mul(x, x)), pool.mul(b, x)), c);
  if (!same_value(evaluation, polynomial, model)) return kNoRef;
  const Ref discriminant = pool.sub(pool.mul(b, b), pool.mul(pool.integer(4), pool.mul(a, c)));
  if (!pool.is_number(discriminant) || pool.value(discriminant).sign() <= 0 ||
      pool.value(a).is_zero())
    return kNoRef;
  const bool upward = pool.value(a).sign() > 0;
  const Ref root = pool.root(discriminant, pool.integer(2));
  const Ref scale =
      pool.div(pool.integer(1), pool.mul(pool.integer(2), pool.function(Function::kAbs, {a})));
  const Ref middle = upward ? pool.neg(b) : b;
  const Ref low = pool.mul(scale, pool.sub(middle, root));
  const Ref high = pool.mul(scale, pool.add(middle, root));
  if (!is_less(code) && !is_greater(code)) return kNoRef;
  if (is_less(code) == upward)
    return pool.make(Op::kInterval, {low, high}, 0, is_strict(code) ? kOpenLeft | kOpenRight : 0);
  const Ref left = ray_below(pool, low, is_strict(code));
  const Ref right = ray_above(pool, high, is_strict(code));
  return pool.make(Op::kUnion, {left, right});
}

// |inner| (code) bound
Ref solve_absolute(Evaluation& evaluation, Ref inner, RelationCode code, Ref bound,
                   int32_t variable) {
  Pool& pool = evaluation.pool();
  if (!is_less(code) && !is_greater(code)) return kNoRef;
  const Ref upper = solve(evaluation, {inner, code, bound}, variable);
  const Ref lower = solve(evaluation, {pool.neg(inner), code, bound}, variable);
  if (upper == kNoRef || lower == kNoRef) return kNoRef;
  return pool.make(is_less(code) ? Op::kIntersection : Op::kUnion, {lower, upper});
}

// The region of v (code) root, or of -v (code) -root when `falling`.
Ref region_from_root(Pool& pool, RelationCode code, Ref root, bool falling) {
  if (code == kEq) return pool.make(Op::kSet, {root});
  if (code == kNe) {
    const Ref line = real_line(pool);
    return pool.make(Op::kDifference, {line, pool.make(Op::kSet, {root})});
  }
  if (!is_less(code) && !is_greater(code)) return kNoRef;
  return is_less(code) != falling ? ray_below(pool, root, is_strict(code))
                                  : ray_above(pool, root, is_strict(code));
}

Ref solve(Evaluation& evaluation, Inequality inequality, int32_t variable) {
  Pool& pool = evaluation.pool();
  auto& [left, code, right] = inequality;
  const auto is_abs = [&](Ref ref) {
    return pool.is(ref, Op::kFunction) && static_cast<Function>(pool[ref].data) == Function::kAbs;
  };
  if (is_abs(right) && !is_abs(left)) {
    std::swap(left, right);
    code = mirrored(code);
  }
  if (is_abs(left) && pool.is_constant(right))
    return solve_absolute(evaluation, pool.child(left, 0), code, right, variable);
  const Ref difference = pool.sub(left, right);
  const Ref at0 = pool.substitute(difference, variable, pool.integer(0));
  const Ref at1 = at0 == kNoRef ? kNoRef : pool.substitute(difference, variable, pool.integer(1));
  const Ref at2 = at1 == kNoRef ? kNoRef : pool.substitute(difference, variable, pool.integer(2));
  if (at2 == kNoRef) return kNoRef;
  const Ref slope = pool.sub(at1, at0);
  // Infinite bounds say nothing.
  if (pool.contains(left, Op::kInfinity) || pool.contains(right, Op::kInfinity))
    return real_line(pool);
  if (!same_value(evaluation, pool.sub(at2, at1), slope))
    return solve_quadratic(evaluation, difference, code, variable);
  const auto sign = order(evaluation, slope, pool.integer(0));
  if (!sign || *sign == 0) return kNoRef;
  Ref root = pool.neg(pool.div(at0, slope));
  if (pool.is(left, Op::kSymbol) && pool[left].data == variable) root = right;
  if (pool.is(right, Op::kSymbol) && pool[right].data == variable) root = left;
  return region_from_root(pool, code, root, *sign < 0);
}

// "(-1, 2] or [5, 7)": intervals side by side are a union. kNoRef for another list.
Ref union_of_intervals(Pool& pool, Ref list) {
  const auto is_region = [&](Ref kid) { return is_region_op(pool[kid].op); };
  const auto is_interval = [&](Ref kid) {
    return is_region(kid) || (pool.is(kid, Op::kTuple) && pool[kid].count == 2);
  };
  const std::vector<Ref> kids = pool.copy_children(list);
  if (!std::any_of(kids.begin(), kids.end(), is_region) ||
      !std::all_of(kids.begin(), kids.end(), is_interval))
    return kNoRef;
  Ref whole = kNoRef;
  for (Ref kid : kids) whole = joined(pool, Op::kUnion, whole, kid);
  return whole;
}

// `conjunction`: flag of a kList. kNoRef when one has no region.
Ref solutions_of_conditions(Evaluation& evaluation, std::span<const Ref> conditions,
                            uint8_t conjunction) {
  Pool& pool = evaluation.pool();
  Ref either = kNoRef, both = kNoRef;
  for (Ref condition : conditions) {
    const Ref part = solution_set(evaluation, condition);
    if (part == kNoRef) return kNoRef;
    either = joined(pool, Op::kUnion, either, part);
    both = joined(pool, Op::kIntersection, both, part);
  }
  if ((conjunction & kJoinedByOr) != 0) return either;
  // "x > 1, x < 3" and "x > 1 and x < 3" are both; "x < 1, x > 3" can only mean either.
  return (conjunction & kJoinedByAnd) != 0 || !has_no_point(evaluation, both) ? both : either;
}

// "x < 0 or x > 2", "x > 1 and x < 3"
Ref solutions_of_list(Evaluation& evaluation, Ref list) {
  Pool& pool = evaluation.pool();
  if (const Ref whole = union_of_intervals(pool, list); whole != kNoRef) return whole;
  const std::vector<Ref> kids = pool.copy_children(list);
  // Only as alternatives for one variable; equations alone are a list of values.
  bool inequality = false, one_variable = true;
  for (Ref kid : kids) {
    if (!pool.is(kid, Op::kRelation)) return list;
    inequality |= !is_equation(pool, kid);
    const std::vector<int32_t> symbols = pool.free_symbols(kid);
    one_variable &= symbols.size() == 1 && symbols == pool.free_symbols(kids[0]);
  }
  if (!inequality || !one_variable) return kNoRef;
  return solutions_of_conditions(evaluation, kids, pool[list].flag);
}

// {x in R | ..} and {x | ..}
Ref solutions_of_builder(Evaluation& evaluation, Ref builder) {
  Pool& pool = evaluation.pool();
  Ref element = pool.child(builder, 0);
  if (pool.is(element, Op::kRelation) && is_membership(pool, element))
    element = pool.child(element, 0);
  if (!pool.is(element, Op::kSymbol)) return kNoRef;
  const std::vector<Ref> members = pool.copy_children(builder);
  const std::span<const Ref> conditions = std::span(members).subspan(1);
  for (Ref condition : conditions) {
    if (!pool.is(condition, Op::kRelation)) return kNoRef;
    const std::vector<int32_t> free = pool.free_symbols(condition);
    if (std::find(free.begin(), free.end(), pool[element].data) == free.end()) return kNoRef;
  }
  return solutions_of_conditions(evaluation, conditions, pool[builder].flag);
}

Ref solutions_of_relation(Evaluation& evaluation, Ref relation) {
  Pool& pool = evaluation.pool();
  const std::vector<int32_t> symbols = pool.free_symbols(relation);
  const std::string signs = signs_of(pool, relation);
  if (is_membership(pool, relation) && pool.is(pool.child(relation, 0), Op::kSymbol))
    return solution_set(evaluation, pool.child(relation, 1));
  if (symbols.empty()) return kNoRef;
  const std::vector<Ref> terms = pool.copy_children(relation);
  // The variable: the one that stands alone in some term, else the only one.
  int32_t variable = symbols[0];
  for (Ref term : terms) {
    if (pool.is(term, Op::kSymbol)) variable = pool[term].data;
  }
  // f(x) in (0, 1): an unknown function stands for one variable.
  if (symbols.size() > 1 && terms.size() == 2 && !pool.is(terms[0], Op::kSymbol) &&
      !pool.is(terms[1], Op::kSymbol))
    return kNoRef;
  Ref whole = kNoRef;
  for (size_t i = 0; i < signs.size(); ++i) {
    const auto code = static_cast<RelationCode>(signs[i]);
    const Ref part = solve(evaluation, {terms[i], code, terms[i + 1]}, variable);
    if (part == kNoRef) return kNoRef;
    whole = joined(pool, Op::kIntersection, whole, part);
  }
  return whole;
}

// A union, intersection or difference of what its operands describe.
Ref solutions_of_operands(Evaluation& evaluation, Ref ref) {
  Pool& pool = evaluation.pool();
  std::vector<Ref> kids = pool.copy_children(ref);
  for (Ref& kid : kids) {
    kid = solution_set(evaluation, kid);
    if (kid == kNoRef) return kNoRef;
  }
  return pool.make(pool[ref].op, kids);
}

}  // namespace

Ref solution_set(Evaluation& evaluation, Ref ref) {
  switch (evaluation.pool()[ref].op) {
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
      return solutions_of_operands(evaluation, ref);
    case Op::kList:
      return solutions_of_list(evaluation, ref);
    case Op::kSetBuilder:
      return solutions_of_builder(evaluation, ref);
    case Op::kRelation:
      return solutions_of_relation(evaluation, ref);
    default:
      return ref;
  }
}

std::optional<bool> same_solutions(Evaluation& evaluation, Ref gold, Ref pred) {
  const Ref g = solution_set(evaluation, gold), p = solution_set(evaluation, pred);
  if (g == kNoRef || p == kNoRef) return std::nullopt;
  return same_points(evaluation, g, p);
}

}  // namespace zeroth::math

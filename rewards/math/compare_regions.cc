// Inequalities, set-builders and intervals as regions of the real line.
#include <algorithm>

#include "rewards/math/compare.h"

namespace zeroth::math {

// The region that an inequality, a chain of them or a set-builder describes; other nodes as they
// are.
Ref Comparer::as_region(Ref ref) {
  const Node node = pool_[ref];
  if (node.op == Op::kUnion || node.op == Op::kIntersection || node.op == Op::kDifference) {
    std::vector<Ref> kids = pool_.copy_children(ref);
    for (Ref& kid : kids) {
      kid = as_region(kid);
      if (kid == kNoRef) return kNoRef;
    }
    return pool_.make(node.op, kids);
  }
  if (node.op == Op::kList) {  // x < 0 or x > 2
    std::vector<Ref> kids = pool_.copy_children(ref);
    // "(-1, 2] or [5, 7)": intervals side by side are a union.
    const auto region = [&](Ref kid) { return is_region_op(pool_[kid].op); };
    if (std::any_of(kids.begin(), kids.end(), region) &&
        std::all_of(kids.begin(), kids.end(), [&](Ref kid) {
          return region(kid) || (pool_.is(kid, Op::kTuple) && pool_[kid].count == 2);
        })) {
      Ref whole = kids[0];
      for (size_t i = 1; i < kids.size(); ++i) whole = pool_.make(Op::kUnion, {whole, kids[i]});
      return whole;
    }
    // Only as alternatives for one variable; equations alone are a list of values.
    bool inequality = false, one_variable = true;
    for (Ref kid : kids) {
      if (!pool_.is(kid, Op::kRelation)) return ref;
      inequality |= !is_equation(kid);
      std::vector<int32_t> symbols = pool_.free_symbols(kid);
      one_variable &= symbols.size() == 1 && symbols == pool_.free_symbols(kids[0]);
    }
    if (!inequality || !one_variable) return kNoRef;
    Ref whole = kNoRef, all = kNoRef;
    for (Ref kid : kids) {
      Ref part = as_region(kid);
      if (part == kNoRef) return kNoRef;
      whole = whole == kNoRef ? part : pool_.make(Op::kUnion, {whole, part});
      all = all == kNoRef ? part : pool_.make(Op::kIntersection, {all, part});
    }
    // "x > 1, x < 3" and "x > 1 and x < 3" are both; "x < 1, x > 3" can only mean either.
    if ((node.flag & kJoinedByOr) != 0) return whole;
    return (node.flag & kJoinedByAnd) != 0 || !is_empty_region(all) ? all : whole;
  }
  if (node.op == Op::kSetBuilder) {
    Ref element = pool_.child(ref, 0);
    // \{x in R | ..\} and \{x | ..\}
    if (pool_.is(element, Op::kRelation) && codes(element) == "i")
      element = pool_.child(element, 0);
    if (!pool_.is(element, Op::kSymbol)) return kNoRef;
    Ref whole = kNoRef;
    std::vector<Ref> conditions = pool_.copy_children(ref);
    for (size_t i = 1; i < conditions.size(); ++i) {
      if (!pool_.is(conditions[i], Op::kRelation)) return kNoRef;
      std::vector<int32_t> free = pool_.free_symbols(conditions[i]);
      if (std::find(free.begin(), free.end(), pool_[element].data) == free.end()) return kNoRef;
      Ref part = as_region(conditions[i]);
      if (part == kNoRef) return kNoRef;
      whole = whole == kNoRef ? part : pool_.make(Op::kUnion, {whole, part});
    }
    return whole;
  }
  if (node.op != Op::kRelation) return ref;
  std::vector<int32_t> symbols = pool_.free_symbols(ref);
  std::string signs = codes(ref);
  if (signs == "i" && pool_.is(pool_.child(ref, 0), Op::kSymbol))
    return as_region(pool_.child(ref, 1));
  if (symbols.empty()) return kNoRef;
  std::vector<Ref> terms = pool_.copy_children(ref);
  // The variable: the one that stands alone in some term, else the only one.
  int32_t variable = symbols[0];
  for (Ref term : terms) {
    if (pool_.is(term, Op::kSymbol)) variable = pool_[term].data;
  }
  if (symbols.size() > 1 && terms.size() == 2 && !pool_.is(terms[0], Op::kSymbol) &&
      !pool_.is(terms[1], Op::kSymbol)) {
    // f(x) in (0, 1): an unknown function stands for one variable.
    return kNoRef;
  }
  Ref whole = kNoRef;
  for (size_t i = 0; i < signs.size(); ++i) {
    Ref part = relation_region(terms[i], signs[i], terms[i + 1], variable);
    if (part == kNoRef) return kNoRef;
    whole = whole == kNoRef ? part : pool_.make(Op::kIntersection, {whole, part});
  }
  return whole;
}

// Solves left (code) right, linear in `variable`, or |linear| against a constant.
Ref Comparer::relation_region(Ref left, char code, Ref right, int32_t variable) {
  auto is_abs = [&](Ref ref) {
    return pool_.is(ref, Op::kFunction) && static_cast<Function>(pool_[ref].data) == Function::kAbs;
  };
  if (is_abs(right) && !is_abs(left)) {
    std::swap(left, right);
    static constexpr std::string_view kFrom = "<>lg", kTo = "><gl";
    size_t at = kFrom.find(code);
    if (at != std::string_view::npos) code = kTo[at];
  }
  if (is_abs(left) && pool_.is_constant(right)) {
    bool less = code == kLt || code == kLe;
    if (!less && code != kGt && code != kGe) return kNoRef;
    Ref inner = pool_.child(left, 0);
    Ref upper = relation_region(inner, code, right, variable);
    Ref lower = relation_region(pool_.neg(inner), code, right, variable);
    if (upper == kNoRef || lower == kNoRef) return kNoRef;
    return pool_.make(less ? Op::kIntersection : Op::kUnion, {lower, upper});
  }
  Ref difference = pool_.sub(left, right);
  Ref at0 = pool_.substitute(difference, variable, pool_.integer(0));
  Ref at1 = at0 == kNoRef ? kNoRef : pool_.substitute(difference, variable, pool_.integer(1));
  Ref at2 = at1 == kNoRef ? kNoRef : pool_.substitute(difference, variable, pool_.integer(2));
  if (at2 == kNoRef) return kNoRef;
  Ref slope = pool_.sub(at1, at0);
  // Infinite bounds say nothing.
  if (pool_.contains(left, Op::kInfinity) || pool_.contains(right, Op::kInfinity)) {
    return pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern("R"));
  }
  if (!same_value(evaluation_, pool_.sub(at2, at1), slope))
    return quadratic_region(difference, code, variable);
  auto sign = order(evaluation_, slope, pool_.integer(0));
  if (!sign || *sign == 0) return kNoRef;
  Ref root = pool_.neg(pool_.div(at0, slope));
  if (pool_.is(left, Op::kSymbol) && pool_[left].data == variable) root = right;
  if (pool_.is(right, Op::kSymbol) && pool_[right].data == variable) root = left;
  bool less = code == kLt || code == kLe, greater = code == kGt || code == kGe;
  Ref infinity = pool_.leaf(Op::kInfinity), minus = pool_.neg(infinity);
  if (code == kEq) return pool_.make(Op::kSet, {root});
  if (code == kNe) {
    Ref line = pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern("R"));
    return pool_.make(Op::kDifference, {line, pool_.make(Op::kSet, {root})});
  }
  if (!less && !greater) return kNoRef;
  bool strict = code == kLt || code == kGt;
  bool below = less == (*sign > 0);
  if (below) {
    return pool_.make(Op::kInterval, {minus, root}, 0,
                      static_cast<uint8_t>(kOpenLeft | (strict ? kOpenRight : 0)));
  }
  return pool_.make(Op::kInterval, {root, infinity}, 0,
                    static_cast<uint8_t>(kOpenRight | (strict ? kOpenLeft : 0)));
}

// a v^2 + b v + c (code) 0 with constant coefficients.
Ref Comparer::quadratic_region(Ref polynomial, char code, int32_t variable) {
  std::vector<Ref> at;
  for (int i = 0; i < 4; ++i) {
    at.push_back(pool_.substitute(polynomial, variable, pool_.integer(i)));
    if (at.back() == kNoRef || !pool_.is_number(at.back())) return kNoRef;
  }
  Ref half = pool_.number(Rational(1, 2));
  Ref a = pool_.mul(half, pool_.add(pool_.sub(at[2], at[1]), pool_.sub(at[0], at[1])));
  Ref b = pool_.sub(pool_.sub(at[1], at[0]), a), c = at[0];
  Ref x = pool_.make(Op::kSymbol, std::initializer_list<Ref>{}, variable);
  Ref model = pool_.add(pool_.add(pool_.mul(a, pool_.mul(x, x)), pool_.mul(b, x)), c);
  if (!same_value(evaluation_, polynomial, model)) return kNoRef;
  Ref discriminant = pool_.sub(pool_.mul(b, b), pool_.mul(pool_.integer(4), pool_.mul(a, c)));
  if (!pool_.is_number(discriminant) || pool_.value(discriminant).sign() <= 0 ||
      pool_.value(a).is_zero())
    return kNoRef;
  Ref root = pool_.root(discriminant, pool_.integer(2));
  Ref scale =
      pool_.div(pool_.integer(1), pool_.mul(pool_.integer(2), pool_.function(Function::kAbs, {a})));
  Ref middle = pool_.value(a).sign() > 0 ? pool_.neg(b) : b;
  Ref low = pool_.mul(scale, pool_.sub(middle, root)),
      high = pool_.mul(scale, pool_.add(middle, root));
  bool less = code == kLt || code == kLe, strict = code == kLt || code == kGt;
  if (!less && code != kGt && code != kGe) return kNoRef;
  if (less == (pool_.value(a).sign() > 0)) {
    return pool_.make(Op::kInterval, {low, high}, 0, strict ? kOpenLeft | kOpenRight : 0);
  }
  Ref infinity = pool_.leaf(Op::kInfinity), minus = pool_.neg(infinity);
  Ref left = pool_.make(Op::kInterval, {minus, low}, 0,
                        static_cast<uint8_t>(kOpenLeft | (strict ? kOpenRight : 0)));
  Ref right = pool_.make(Op::kInterval, {high, infinity}, 0,
                         static_cast<uint8_t>(kOpenRight | (strict ? kOpenLeft : 0)));
  return pool_.make(Op::kUnion, {left, right});
}

}  // namespace zeroth::math

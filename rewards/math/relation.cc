#include "rewards/math/relation.h"

#include <algorithm>

#include "rewards/math/same_scalar.h"

namespace zeroth::math {

namespace {

bool only_equal_signs(const std::string& signs) {
  return std::all_of(signs.begin(), signs.end(), [](char c) { return c == kEq; });
}

// A polynomial by its operations, with numbers and symbols at the leaves.
bool is_polynomial(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kNumber:
    case Op::kSymbol:
      return true;
    case Op::kAdd:
    case Op::kMul:
      for (int i = 0; i < pool[ref].count; ++i) {
        if (!is_polynomial(pool, pool.child(ref, i))) return false;
      }
      return true;
    case Op::kDiv:
      return pool.is_number(pool.child(ref, 1)) && is_polynomial(pool, pool.child(ref, 0));
    case Op::kPow:
      return pool.is_number(pool.child(ref, 1)) && pool.value(pool.child(ref, 1)).is_integer() &&
             is_polynomial(pool, pool.child(ref, 0));
    default:
      return false;
  }
}

}  // namespace

RelationCode mirrored(RelationCode code) {
  switch (code) {
    case kLt:
      return kGt;
    case kGt:
      return kLt;
    case kLe:
      return kGe;
    case kGe:
      return kLe;
    default:
      return code;
  }
}

bool is_membership(const Pool& pool, Ref relation) {
  const std::string& signs = signs_of(pool, relation);
  return signs.size() == 1 && signs[0] == kIn;
}

bool is_congruence(const Pool& pool, Ref relation) {
  const std::string& signs = signs_of(pool, relation);
  return signs.size() == 2 && signs[0] == kCongruent && signs[1] == kModulo;
}

bool is_equation(const Pool& pool, Ref ref) {
  if (!pool.is(ref, Op::kRelation)) return false;
  if (is_membership(pool, ref) || is_congruence(pool, ref)) return true;
  const std::string& signs = signs_of(pool, ref);
  const bool bare_congruence = signs.size() == 1 && signs[0] == kCongruent;
  const bool named_set = signs.size() == 2 && signs[0] == kEq && signs[1] == kIn;  // A = x in S
  return bare_congruence || named_set || only_equal_signs(signs);
}

bool only_names(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kSymbol:
    case Op::kCall:
    case Op::kText:
    case Op::kEuler:
    case Op::kImaginary:
      return true;
    case Op::kMul:
    case Op::kDiv:
    case Op::kTuple:
    case Op::kList:
    case Op::kRatio:
    case Op::kAdd:
      break;
    case Op::kFunction:
      // The base of a logarithm is no name.
      if (static_cast<Function>(pool[ref].data) == Function::kLog)
        return only_names(pool, pool.child(ref, 0));
      break;
    default:
      return false;
  }
  for (int i = 0; i < pool[ref].count; ++i) {
    if (!only_names(pool, pool.child(ref, i))) return false;
  }
  return pool[ref].count > 0;
}

bool is_assignment(const Pool& pool, Ref ref) {
  return is_equation(pool, ref) && only_names(pool, pool.child(ref, 0));
}

bool is_unsolved(const Pool& pool, Ref equation) {
  if (!only_equal_signs(signs_of(pool, equation))) return false;
  const Ref left = pool.child(equation, 0);
  return pool[equation].count == 2 && !only_names(pool, left) &&
         pool.free_symbols(left).size() == 1 && is_polynomial(pool, left) &&
         pool.is_constant(pool.child(equation, 1));
}

bool is_solved(const Pool& pool, Ref relation) {
  if (pool.free_symbols(relation).size() != 1) return false;
  for (Ref term : pool.children(relation)) {
    const bool constant = is_scalar(pool, term) && pool.is_constant(term);
    if (!pool.is(term, Op::kSymbol) && !constant) return false;
  }
  return true;
}

bool has_inequality(const Pool& pool, Ref collection) {
  for (Ref member : pool.children(collection)) {
    if (pool.is(member, Op::kRelation) && !is_equation(pool, member)) return true;
  }
  return false;
}

Ref last_term(const Pool& pool, Ref relation) {
  const int last = pool[relation].count - 1;
  return pool.child(relation, signs_of(pool, relation).ends_with(kModulo) ? last - 1 : last);
}

Ref oriented(Pool& pool, Ref equation) {
  const std::string& signs = signs_of(pool, equation);
  if (pool[equation].count != 2 || signs.size() != 1 || signs[0] != kEq) return equation;
  const Ref left = pool.child(equation, 0), right = pool.child(equation, 1);
  if (only_names(pool, left) || !only_names(pool, right) || !is_scalar(pool, left)) return equation;
  return pool.make(Op::kRelation, {right, left}, pool[equation].data);
}

}  // namespace zeroth::math

#include "rewards/math/same_scalar.h"

#include <algorithm>
#include <optional>

#include "rewards/math/extract_parts.h"
#include "rewards/math/lexer.h"
#include "rewards/math/same_value.h"

namespace zeroth::math {

namespace {

// 50% is 50 and 1/2; 30 degrees is 30 and pi/6. nullopt when neither side has such a mark.
std::optional<bool> same_with_mark(Evaluation& evaluation, Ref gold, Ref pred) {
  Pool& pool = evaluation.pool();
  for (Op mark : {Op::kPercent, Op::kDegree}) {
    const bool g = pool.is(gold, mark), p = pool.is(pred, mark);
    if (!g && !p) continue;
    const Ref bare_gold = g ? pool.child(gold, 0) : gold;
    const Ref bare_pred = p ? pool.child(pred, 0) : pred;
    if (same_number(evaluation, bare_gold, bare_pred)) return true;
    if (g == p) return false;
    if (same_number(evaluation, gold, pred)) return true;
    if (mark != Op::kPercent) return false;
    // 33.3333% and 0.333333
    const Ref scaled = pool.div(g ? bare_gold : bare_pred, pool.integer(100));
    const Ref other = g ? pred : gold;
    return pool.is_number(other) && same_decimals(evaluation, scaled, other);
  }
  return std::nullopt;
}

// a : b is a / b; longer ratios are equal up to a common factor.
bool same_ratio(Evaluation& evaluation, Ref gold, Ref pred) {
  Pool& pool = evaluation.pool();
  const bool g = pool.is(gold, Op::kRatio), p = pool.is(pred, Op::kRatio);
  if (!g || !p) return pool[g ? gold : pred].count == 2 && same_number(evaluation, gold, pred);
  if (pool[gold].count != pool[pred].count) return false;
  const int n = pool[gold].count;
  bool same = true;
  for (int i = 0; same && i < n; ++i) {
    same = same_value(evaluation, pool.child(gold, i), pool.child(pred, i));
  }
  if (same) return true;
  for (int i = 0; i < n; ++i) {
    for (Ref side : {gold, pred}) {
      const Ref part = pool.child(side, i);
      if (pool.is_number(part) && pool.value(part).is_zero()) return false;
    }
  }
  for (int i = 1; i < n; ++i) {
    const Ref left = pool.mul(pool.child(gold, i), pool.child(pred, 0));
    const Ref right = pool.mul(pool.child(pred, i), pool.child(gold, 0));
    if (!same_value(evaluation, left, right)) return false;
  }
  return true;
}

// Every letter is a unit. "2mgh" is a product of variables, though each of its letters is a unit:
// one letter counts, or two that are a unit together ("mg").
bool holds_units_only(const Pool& pool, Ref ref) {
  const std::vector<int32_t> symbols = pool.free_symbols(ref);
  return !symbols.empty() && symbols.size() <= 2 &&
         std::all_of(symbols.begin(), symbols.end(),
                     [&](int32_t id) { return is_unit(pool.name_of(id)); });
}

// The number of "10 m"; kNoRef for what is no number times a unit.
Ref number_before_unit(const Pool& pool, Ref ref) {
  if (!pool.is(ref, Op::kMul) || pool[ref].count < 2) return kNoRef;
  if (!pool.is_number(pool.child(ref, 0))) return kNoRef;
  for (int i = 1; i < pool[ref].count; ++i) {
    const Ref unit = pool.child(ref, i);
    const Op op = pool[unit].op;
    if (op != Op::kSymbol && op != Op::kPow && op != Op::kDiv) return kNoRef;
    if (!holds_units_only(pool, unit)) return kNoRef;
  }
  return pool.free_symbols(ref).size() > 2 ? kNoRef : pool.child(ref, 0);
}

// Likewise, also of "9.8 m/s^2".
Ref number_before_units(const Pool& pool, Ref ref) {
  if (!pool.is(ref, Op::kDiv)) return number_before_unit(pool, ref);
  return holds_units_only(pool, pool.child(ref, 1)) ? number_before_unit(pool, pool.child(ref, 0))
                                                    : kNoRef;
}

// "10 m" against "10".
bool same_without_unit(Evaluation& evaluation, Ref gold, Ref pred) {
  const Pool& pool = evaluation.pool();
  const Ref g = number_before_units(pool, gold), p = number_before_units(pool, pred);
  if (g != kNoRef && pool.is_number(pred)) return same_number(evaluation, g, pred);
  if (p != kNoRef && pool.is_number(gold)) return same_number(evaluation, gold, p);
  return false;
}

// Some letter stands in both cases.
bool uses_both_cases(const Pool& pool, Ref ref) {
  std::vector<std::string> names;
  for (int32_t id : pool.free_symbols(ref)) names.push_back(lower_case(pool.name_of(id)));
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) != names.end();
}

// All names in small letters; kNoRef when the pool is full.
Ref in_lower_case(Pool& pool, Ref ref) {
  for (int32_t id : pool.free_symbols(ref)) {
    const std::string name = pool.name_of(id), small = lower_case(name);
    if (name == small) continue;
    ref = pool.substitute(ref, id, small == "e" ? pool.leaf(Op::kEuler) : pool.symbol(small));
    if (ref == kNoRef) return kNoRef;
  }
  return ref;
}

// "3x" and "3X": a letter may change its case when neither side uses both.
bool same_in_lower_case(Evaluation& evaluation, Ref gold, Ref pred) {
  Pool& pool = evaluation.pool();
  if (uses_both_cases(pool, gold) || uses_both_cases(pool, pred)) return false;
  const Ref g = in_lower_case(pool, gold), p = in_lower_case(pool, pred);
  if (g == kNoRef || p == kNoRef || (g == gold && p == pred)) return false;
  return same_number(evaluation, g, p);
}

}  // namespace

bool is_scalar(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kText:
    case Op::kBase:
    case Op::kList:
    case Op::kTuple:
    case Op::kInterval:
    case Op::kSet:
    case Op::kSetBuilder:
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
    case Op::kSpecialSet:
    case Op::kRelation:
    case Op::kMatrix:
      return false;
    default:
      return true;
  }
}

bool same_number(Evaluation& evaluation, Ref gold, Ref pred) {
  if (same_value(evaluation, gold, pred)) return true;
  const Pool& pool = evaluation.pool();
  const auto is_decimal = [&](Ref ref) {
    return pool.is_number(ref) && (pool[ref].flag & kDecimalFlag) != 0;
  };
  return (is_decimal(gold) || is_decimal(pred)) && same_decimals(evaluation, gold, pred);
}

bool same_scalar(Evaluation& evaluation, Ref gold, Ref pred) {
  const Pool& pool = evaluation.pool();
  if (pool.is(gold, Op::kRatio) || pool.is(pred, Op::kRatio))
    return same_ratio(evaluation, gold, pred);
  if (const auto same = same_with_mark(evaluation, gold, pred)) return *same;
  return same_number(evaluation, gold, pred) || same_without_unit(evaluation, gold, pred) ||
         same_in_lower_case(evaluation, gold, pred);
}

bool same_digits(const Pool& pool, Ref gold, Ref pred) {
  const bool g = pool.is(gold, Op::kBase), p = pool.is(pred, Op::kBase);
  if (g && p) return pool[gold].flag == pool[pred].flag && pool.name(gold) == pool.name(pred);
  const Ref based = g ? gold : pred, other = g ? pred : gold;
  if (!pool.is_number(other) || !pool.value(other).is_integer()) return false;
  if (!g && pool[based].flag != 10) return false;
  return pool.value(other).to_string() == pool.name(based);
}

}  // namespace zeroth::math

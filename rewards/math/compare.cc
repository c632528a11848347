#include "rewards/math/compare.h"
#include "core/ascii.h"
#include "rewards/math/extract_parts.h"

#include <algorithm>
#include <cmath>

#include "rewards/math/lexer.h"

namespace zeroth::math {

namespace {

using ascii::is_letter;

}  // namespace

bool Comparer::equivalent(Ref gold, Ref pred) {
  if (!options_.strict) pred = match_variables(gold, pred);
  if (pred == kNoRef) return false;
  return compare(gold, pred, 0);
}

// Not strict: the n-th variable of one side stands for the n-th of the other.
Ref Comparer::match_variables(Ref gold, Ref pred) {
  std::vector<int32_t> from = pool_.free_symbols(pred), to = pool_.free_symbols(gold);
  if (from.size() != to.size() || from == to) return pred;
  // Through fresh names, so that swaps work.
  for (size_t i = 0; i < from.size() && pred != kNoRef; ++i) {
    pred = pool_.substitute(pred, from[i], pool_.symbol("?" + std::to_string(i)));
  }
  for (size_t i = 0; i < from.size() && pred != kNoRef; ++i) {
    Ref target = pool_.symbol(pool_.name_of(to[i]));
    pred = pool_.substitute(pred, pool_.intern("?" + std::to_string(i)), target);
  }
  return pred;
}

bool Comparer::compare(Ref gold, Ref pred, int depth) {
  if (++calls_ > kMaxCalls || depth > 50 || pool_.full()) return false;
  // An equation given where a value is asked for means its right side; a gold assignment accepts
  // the bare value.
  bool gold_equation = is_equation(gold), pred_equation = is_equation(pred);
  if (gold_equation) gold = oriented(gold);
  if (pred_equation) pred = oriented(pred);
  if (pred_equation && !gold_equation) {
    // "x in S" states the same region as an inequality; an equation does not.
    if (pool_.is(gold, Op::kRelation) && codes(pred) != "i") return false;
    if (false_statement(pred)) return false;
    // "x^2 = 9" is an equation to be solved, not the answer 9.
    if (is_scalar(gold) && pool_.is_constant(gold) && unsolved(pred)) return false;
    return compare(gold, last_term(pred), depth + 1);
  }
  // A gold "x in S" is a statement about x, as an inequality is.
  if (gold_equation && codes(gold) == "i" && pool_.is(pred, Op::kRelation) && !pred_equation) {
    Ref region = as_region(pred);
    return region != kNoRef && compare(last_term(gold), region, depth + 1);
  }
  if (gold_equation && !pool_.is(pred, Op::kRelation)) {
    bool chain = pool_[gold].count > 2;
    if (is_assignment(gold) || chain) return compare(last_term(gold), pred, depth + 1);
    return is_scalar(pred) && solved_by(gold, pred);
  }
  return compare_unwrapped(gold, pred, depth);
}

namespace {

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

// A polynomial in one variable, more than its name, set equal to a constant.
bool Comparer::unsolved(Ref equation) const {
  if (!std::all_of(pool_.name(equation).begin(), pool_.name(equation).end(),
                   [](char c) { return c == kEq; }))
    return false;
  const Ref left = pool_.child(equation, 0);
  return pool_[equation].count == 2 && !only_names(left) && pool_.free_symbols(left).size() == 1 &&
         is_polynomial(pool_, left) && pool_.is_constant(pool_.child(equation, 1));
}

bool Comparer::is_scalar(Ref ref) const {
  switch (pool_[ref].op) {
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

bool Comparer::compare_unwrapped(Ref gold, Ref pred, int depth) {
  if (other_forms(gold, pred, depth)) return true;
  if (pool_.is(gold, Op::kRelation) && pool_.is(pred, Op::kRelation))
    return relations(gold, pred, depth);
  if (pool_.is(gold, Op::kMatrix) || pool_.is(pred, Op::kMatrix))
    return matrices(gold, pred, depth);
  if (pool_.is(gold, Op::kBase) || pool_.is(pred, Op::kBase)) return bases(gold, pred);
  bool plain = (is_scalar(gold) || pool_.is(gold, Op::kText)) &&
               (is_scalar(pred) || pool_.is(pred, Op::kText));
  if (!plain) return collections(gold, pred, depth);
  if (texts(gold, pred)) return true;
  if (pool_.is(gold, Op::kText) || pool_.is(pred, Op::kText)) return false;
  return scalars(gold, pred);
}

// The letters of a text, a name or a product of one-letter names; empty for anything else.
std::string Comparer::spelling(Ref ref) const {
  switch (pool_[ref].op) {
    case Op::kText:
      return pool_.name(ref);
    case Op::kSymbol:
      return pool_.name(ref).size() > 1 ? lower_case(pool_.name(ref)) : pool_.name(ref);
    case Op::kEuler:
      return "e";
    case Op::kImaginary:
      return "i";
    case Op::kMul: {
      std::string all;
      for (int i = 0; i < pool_[ref].count; ++i) {
        Ref kid = pool_.child(ref, i);
        if (!pool_.is(kid, Op::kSymbol) && !pool_.is(kid, Op::kEuler) &&
            !pool_.is(kid, Op::kImaginary))
          return {};
        all += spelling(kid);
      }
      return lower_case(all);
    }
    default:
      return {};
  }
}

// The same words, or a choice letter that the answer spells out: "B", "(B)", "B. 42".
bool Comparer::texts(Ref gold, Ref pred) {
  std::string g = spelling(gold), p = spelling(pred);
  if (g.empty()) return false;
  if (!p.empty() && (g == p || lower_case(g) == lower_case(p))) return true;
  if (g.size() != 1 || !is_letter(g[0]) || !pool_.is(pred, Op::kText)) return false;
  std::string_view rest = p;
  for (std::string_view prefix :
       {"option", "choice", "answer", "theansweris", "u+6545u+9009", "u+9009"}) {
    if (rest.starts_with(prefix) && rest.size() > prefix.size()) rest.remove_prefix(prefix.size());
  }
  bool open = rest.starts_with('(');
  if (open) rest.remove_prefix(1);
  if (rest.empty() || lower_case(std::string(1, rest[0])) != lower_case(g)) return false;
  rest.remove_prefix(1);
  for (std::string_view suffix : {"iscorrect", "isright", "istheanswer", "isthecorrectanswer",
                                  "isthecorrectoption", "isthecorrectchoice"}) {
    if (rest == suffix) return true;
  }
  if (rest.empty()) return true;
  return rest[0] == ')' || rest[0] == ':';
}

bool Comparer::scalars(Ref gold, Ref pred) {
  if (pool_.is(gold, Op::kRatio) || pool_.is(pred, Op::kRatio)) return ratios(gold, pred);
  bool decided = false;
  bool same = percent_or_degree(gold, pred, &decided);
  if (decided) return same;
  if (numbers(gold, pred)) return true;
  if (unit_stripped(gold, pred)) return true;
  // "3x" and "3X": a letter may change its case when neither side uses both.
  auto folded = [&](Ref ref) {
    for (int32_t id : pool_.free_symbols(ref)) {
      std::string name = pool_.name_of(id), small = lower_case(name);
      if (name == small) continue;
      ref = pool_.substitute(ref, id, small == "e" ? pool_.leaf(Op::kEuler) : pool_.symbol(small));
      if (ref == kNoRef) return kNoRef;
    }
    return ref;
  };
  auto both_cases = [&](Ref ref) {
    std::vector<std::string> names;
    for (int32_t id : pool_.free_symbols(ref)) names.push_back(lower_case(pool_.name_of(id)));
    std::sort(names.begin(), names.end());
    return std::adjacent_find(names.begin(), names.end()) != names.end();
  };
  if (both_cases(gold) || both_cases(pred)) return false;
  Ref g = folded(gold), p = folded(pred);
  if (g == kNoRef || p == kNoRef || (g == gold && p == pred)) return false;
  return numbers(g, p);
}

// Exact equality, or agreement of a decimal fraction to the asked number of decimals.
bool Comparer::numbers(Ref gold, Ref pred) {
  if (same_value(evaluation_, gold, pred)) return true;
  auto decimal = [&](Ref ref) {
    return pool_.is_number(ref) && (pool_[ref].flag & kDecimalFlag) != 0;
  };
  if (!decimal(gold) && !decimal(pred)) return false;
  return same_decimals(evaluation_, gold, pred);
}

// 50% is 50 and 1/2; 30 degrees is 30 and pi/6.
bool Comparer::percent_or_degree(Ref gold, Ref pred, bool* decided) {
  for (Op op : {Op::kPercent, Op::kDegree}) {
    bool g = pool_.is(gold, op), p = pool_.is(pred, op);
    if (!g && !p) continue;
    *decided = true;
    Ref inner_gold = g ? pool_.child(gold, 0) : gold, inner_pred = p ? pool_.child(pred, 0) : pred;
    if (numbers(inner_gold, inner_pred)) return true;
    if (g != p)
      return numbers(gold, pred) || (op == Op::kPercent && [&] {
               Ref scaled = pool_.div(g ? inner_gold : inner_pred, pool_.integer(100));
               Ref other = g ? pred : gold;
               return pool_.is_number(other) && same_decimals(evaluation_, scaled, other);
             }());
    return false;
  }
  return false;
}

// Digits and base both count; a number without a base is taken to stand in the asked one.
bool Comparer::bases(Ref gold, Ref pred) {
  bool g = pool_.is(gold, Op::kBase), p = pool_.is(pred, Op::kBase);
  if (g && p) return pool_[gold].flag == pool_[pred].flag && pool_.name(gold) == pool_.name(pred);
  Ref based = g ? gold : pred, other = g ? pred : gold;
  if (!pool_.is_number(other) || !pool_.value(other).is_integer()) return false;
  if (!g && pool_[based].flag != 10) return false;
  return pool_.value(other).to_string() == pool_.name(based);
}

// a : b is a / b; longer ratios are equal up to a common factor.
bool Comparer::ratios(Ref gold, Ref pred) {
  bool g = pool_.is(gold, Op::kRatio), p = pool_.is(pred, Op::kRatio);
  if (!g || !p) {
    if (pool_[g ? gold : pred].count != 2) return false;
    return numbers(gold, pred);
  }
  if (pool_[gold].count != pool_[pred].count) return false;
  int n = pool_[gold].count;
  bool same = true;
  for (int i = 0; same && i < n; ++i) {
    same = same_value(evaluation_, pool_.child(gold, i), pool_.child(pred, i));
  }
  if (same) return true;
  for (int i = 0; i < n; ++i) {
    for (Ref side : {gold, pred}) {
      Ref part = pool_.child(side, i);
      if (pool_.is_number(part) && pool_.value(part).is_zero()) return false;
    }
  }
  for (int i = 1; i < n; ++i) {
    Ref left = pool_.mul(pool_.child(gold, i), pool_.child(pred, 0));
    Ref right = pool_.mul(pool_.child(pred, i), pool_.child(gold, 0));
    if (!same_value(evaluation_, left, right)) return false;
  }
  return true;
}

// "10 m" against "10": one side is a number times a letter that is a unit, the other a plain
// number.
bool Comparer::unit_stripped(Ref gold, Ref pred) {
  // "2mgh" is a product of variables, though each letter is a unit: one letter, or two that are a
  // unit together ("mg").
  auto all_units = [&](Ref ref) {
    std::vector<int32_t> symbols = pool_.free_symbols(ref);
    return !symbols.empty() && symbols.size() <= 2 &&
           std::all_of(symbols.begin(), symbols.end(),
                       [&](int32_t id) { return is_unit(pool_.name_of(id)); });
  };
  auto letters_of = [&](Ref ref) { return pool_.free_symbols(ref).size(); };
  auto strip_product = [&](Ref ref) {
    if (!pool_.is(ref, Op::kMul) || pool_[ref].count < 2) return kNoRef;
    if (!pool_.is_number(pool_.child(ref, 0))) return kNoRef;
    for (int i = 1; i < pool_[ref].count; ++i) {
      const Op op = pool_[pool_.child(ref, i)].op;
      if (op != Op::kSymbol && op != Op::kPow && op != Op::kDiv) return kNoRef;
      if (!all_units(pool_.child(ref, i))) return kNoRef;
    }
    if (letters_of(ref) > 2) return kNoRef;
    return pool_.child(ref, 0);
  };
  auto strip = [&](Ref ref) {  // 9.8 m/s^2
    if (!pool_.is(ref, Op::kDiv)) return strip_product(ref);
    return all_units(pool_.child(ref, 1)) ? strip_product(pool_.child(ref, 0)) : kNoRef;
  };
  Ref g = strip(gold), p = strip(pred);
  if (g != kNoRef && pool_.is_number(pred)) return numbers(g, pred);
  if (p != kNoRef && pool_.is_number(gold)) return numbers(gold, p);
  return false;
}

}  // namespace zeroth::math

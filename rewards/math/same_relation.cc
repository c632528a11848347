#include "rewards/math/same_relation.h"

#include <algorithm>

#include "rewards/math/extract_parts.h"
#include "rewards/math/relation.h"
#include "rewards/math/same_scalar.h"
#include "rewards/math/same_text.h"
#include "rewards/math/same_value.h"
#include "rewards/math/solution_set.h"
#include "rewards/math/zero_set.h"

namespace zeroth::math {

namespace {

bool holds(const std::vector<int32_t>& symbols, int32_t id) {
  return std::find(symbols.begin(), symbols.end(), id) != symbols.end();
}

// x = 3 (mod 7) is x = 10 (mod 7).
bool same_congruence(Comparer& comparer, Ref gold, Ref pred, int depth) {
  Pool& pool = comparer.pool();
  if (!comparer.compare(pool.child(gold, 0), pool.child(pred, 0), depth + 1)) return false;
  const Ref modulus = pool.child(gold, 2);
  if (!comparer.compare(modulus, pool.child(pred, 2), depth + 1)) return false;
  const Ref a = pool.child(gold, 1), b = pool.child(pred, 1);
  if (!is_scalar(pool, a) || !is_scalar(pool, b)) return false;
  const Ref turns = pool.div(pool.sub(a, b), modulus);
  return same_number(comparer.evaluation(), a, b) ||
         (pool.is_number(turns) && pool.value(turns).is_integer());
}

// y = x + 1 is the graph of f(x) = x + 1: `f` is applied to one variable, on which `value` depends.
bool is_graph(const Pool& pool, Ref f, Ref y, Ref value) {
  return pool.is(f, Op::kCall) && pool.is(y, Op::kSymbol) && pool.name(y) == "y" &&
         pool[f].count == 1 && pool.is(pool.child(f, 0), Op::kSymbol) && !pool.is_constant(value);
}

// W(n) = n + 1 and W(x) = x + 1 define the same function: bound variables are renamed.
bool same_definition(Comparer& comparer, Ref gold, Ref pred, int depth) {
  Pool& pool = comparer.pool();
  const Ref g = pool.child(gold, 0), p = pool.child(pred, 0);
  Ref value = last_term(pool, pred);
  if (is_graph(pool, g, p, value) || is_graph(pool, p, g, last_term(pool, gold)))
    return comparer.compare(last_term(pool, gold), value, depth + 1);
  if (!pool.is(g, Op::kCall) || !pool.is(p, Op::kCall) || pool[g].data != pool[p].data)
    return false;
  if (pool[g].count != pool[p].count) return false;
  for (int i = 0; i < pool[g].count; ++i) {
    const Ref from = pool.child(p, i), to = pool.child(g, i);
    if (!pool.is(from, Op::kSymbol) || !pool.is(to, Op::kSymbol)) return false;
    if (pool[from].data == pool[to].data) continue;
    // f(y) = 1/x says nothing about f(x).
    if (holds(pool.free_symbols(value), pool[to].data)) return false;
    value = pool.substitute(value, pool[from].data, to);
    if (value == kNoRef) return false;
  }
  return comparer.compare(last_term(pool, gold), value, depth + 1);
}

// "Area": a name of several letters without scripts or accents.
bool is_word(const Pool& pool, Ref ref) {
  if (!pool.is(ref, Op::kSymbol) && !pool.is(ref, Op::kText)) return false;
  const std::string& name = pool.name(ref);
  return name.size() > 3 && name.find_first_of("_{^") == std::string::npos;
}

// The letters of a name in small letters, of a segment without its bar or bars.
std::string name_without_bars(const Pool& pool, Ref ref) {
  const bool bars =
      pool.is(ref, Op::kFunction) && static_cast<Function>(pool[ref].data) == Function::kAbs;
  std::string name = spelling(pool, bars ? pool.child(ref, 0) : ref);
  if (name.starts_with("bar{") && name.size() > 6) name = name.substr(4, name.size() - 5);
  return lower_case(name);
}

// What two assignments assign to. One name with and one without a subscript (S and S_{ABC}), one
// segment written with and without its bar, and a word for a letter ("Area" for S) are the same.
bool same_name(Comparer& comparer, Ref gold, Ref pred, int depth) {
  if (comparer.compare(gold, pred, depth + 1)) return true;
  const Pool& pool = comparer.pool();
  const std::string g = name_without_bars(pool, gold), p = name_without_bars(pool, pred);
  if (g.empty() || p.empty()) return false;
  if (g.size() > 1 && g == p) return true;
  if (is_word(pool, gold) != is_word(pool, pred)) return true;
  const size_t g_base = std::min(g.find('_'), g.size()), p_base = std::min(p.find('_'), p.size());
  const bool one_plain = (g_base == g.size()) != (p_base == p.size());
  return one_plain && g.substr(0, g_base) == p.substr(0, p_base);
}

// Equal up to a factor, or the same curve.
bool same_curve(Comparer& comparer, Ref gold, Ref pred) {
  constexpr int kDeep = 40;  // sides that are no scalars have few levels left
  Pool& pool = comparer.pool();
  Evaluation& evaluation = comparer.evaluation();
  if (pool.hash(gold) == pool.hash(pred)) return true;
  const Ref g0 = pool.child(gold, 0), g1 = last_term(pool, gold);
  const Ref p0 = pool.child(pred, 0), p1 = last_term(pool, pred);
  for (Ref side : {g0, g1, p0, p1}) {
    if (!is_scalar(pool, side))
      return comparer.compare(g0, p0, kDeep) && comparer.compare(g1, p1, kDeep);
  }
  const Ref a = pool.sub(g0, g1), b = pool.sub(p0, p1);
  return proportional(evaluation, a, b, true) || same_zero_set(evaluation, a, b);
}

bool same_equation(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  const Ref gold_name = pool.child(gold, 0), pred_name = pool.child(pred, 0);
  // The problem's own equation handed back is no solution of it.
  if (pool.is(gold_name, Op::kSymbol) && pool.is_constant(last_term(pool, gold)) &&
      !is_assignment(pool, pred))
    return false;
  if (!is_assignment(pool, gold) || !is_assignment(pool, pred))
    return same_curve(comparer, gold, pred);
  if (same_definition(comparer, gold, pred, depth)) return true;
  const Ref gold_value = last_term(pool, gold), pred_value = last_term(pool, pred);
  if (same_name(comparer, gold_name, pred_name, depth))
    return comparer.compare(gold_value, pred_value, depth + 1);
  // x = 1 is not y = 1.
  return is_scalar(pool, gold_value) && is_scalar(pool, pred_value) &&
         same_curve(comparer, gold, pred);
}

// difference (code) 0, turned so that the code is < or <=; = and != as they are.
struct SimpleRelation {
  Ref difference;
  RelationCode code;
};

// The links of a chain; empty when a term is no scalar.
std::vector<SimpleRelation> links_of(Pool& pool, Ref chain) {
  std::vector<SimpleRelation> links;
  const std::string signs = signs_of(pool, chain);
  for (size_t i = 0; i < signs.size(); ++i) {
    const Ref a = pool.child(chain, static_cast<int>(i));
    const Ref b = pool.child(chain, static_cast<int>(i) + 1);
    if (!is_scalar(pool, a) || !is_scalar(pool, b)) return {};
    const auto code = static_cast<RelationCode>(signs[i]);
    if (is_greater(code)) {
      links.push_back({pool.sub(b, a), mirrored(code)});
    } else {
      links.push_back({pool.sub(a, b), code});
    }
  }
  return links;
}

// The same links in any order, each up to a factor.
bool same_chain(Evaluation& evaluation, Ref gold, Ref pred) {
  Pool& pool = evaluation.pool();
  if (pool.hash(gold) == pool.hash(pred)) return true;
  const std::vector<SimpleRelation> g = links_of(pool, gold), p = links_of(pool, pred);
  if (g.empty() || g.size() != p.size() || g.size() > 8) return false;
  std::vector<bool> used(p.size(), false);
  for (const SimpleRelation& link : g) {
    const bool either_sign = link.code == kNe || link.code == kEq;
    bool found = false;
    for (size_t i = 0; i < p.size() && !found; ++i) {
      if (used[i] || p[i].code != link.code) continue;
      if (!proportional(evaluation, link.difference, p[i].difference, either_sign)) continue;
      used[i] = found = true;
    }
    if (!found) return false;
  }
  return true;
}

}  // namespace

bool same_relation(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  Evaluation& evaluation = comparer.evaluation();
  const bool equation = is_equation(pool, gold);
  if (equation != is_equation(pool, pred)) return false;
  if (is_congruence(pool, gold) && is_congruence(pool, pred))
    return same_congruence(comparer, gold, pred, depth);
  if (equation) return same_equation(comparer, gold, pred, depth);
  if (same_chain(evaluation, gold, pred)) return true;
  // |x - 2| < 3 accepts its solution -1 < x < 5, not the other way round.
  if (!is_solved(pool, pred) || pool.free_symbols(gold) != pool.free_symbols(pred)) return false;
  return same_solutions(evaluation, gold, pred) == true;
}

bool contradicts_itself(Evaluation& evaluation, Ref equation) {
  Pool& pool = evaluation.pool();
  const Ref first = pool.child(equation, 0), last = last_term(pool, equation);
  if (!is_scalar(pool, last) || !pool.is_constant(last)) return false;
  const int count = pool[equation].count;
  for (int i = 0; i + 1 < count && i < 8; ++i) {
    Ref term = pool.child(equation, i);
    if (term == last || !is_scalar(pool, term)) continue;
    if (i > 0 && pool.is(first, Op::kSymbol) && !pool.is_constant(term)) {
      const std::vector<int32_t> free = pool.free_symbols(term);
      if (free.size() != 1 || free[0] != pool[first].data) continue;
      term = pool.substitute(term, free[0], last);
      if (term == kNoRef) return false;
    }
    // f(2) = 8 says what f(2) is.
    const bool known = !pool.contains(term, Op::kCall) && !pool.contains(term, Op::kOpaque);
    if (known && pool.is_constant(term) && !same_number(evaluation, term, last)) return true;
  }
  return false;
}

bool solved_by(Evaluation& evaluation, Ref equation, Ref expression) {
  Pool& pool = evaluation.pool();
  if (pool[equation].count != 2 || pool.is_constant(expression)) return false;
  const Ref left = pool.child(equation, 0), right = last_term(pool, equation);
  if (!is_scalar(pool, left) || !is_scalar(pool, right)) return false;
  const Ref difference = pool.sub(left, right);
  const std::vector<int32_t> inside = pool.free_symbols(expression);
  const std::vector<int32_t> all = pool.free_symbols(difference);
  if (all.size() != inside.size() + 1) return false;
  for (int32_t id : all) {
    if (holds(inside, id)) continue;
    const Ref at0 = pool.substitute(difference, id, pool.integer(0));
    const Ref at1 = at0 == kNoRef ? kNoRef : pool.substitute(difference, id, pool.integer(1));
    const Ref at2 = at1 == kNoRef ? kNoRef : pool.substitute(difference, id, pool.integer(2));
    if (at2 == kNoRef) return false;
    const Ref slope = pool.sub(at1, at0);
    if (!same_value(evaluation, pool.sub(at2, at1), slope)) continue;
    const Ref value = pool.substitute(difference, id, expression);
    return value != kNoRef && same_value(evaluation, value, pool.integer(0)) &&
           !same_value(evaluation, slope, pool.integer(0));
  }
  return false;
}

}  // namespace zeroth::math

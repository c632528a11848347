// Lists, tuples, sets, regions of the real line and matrices.
#include <algorithm>

#include "rewards/math/compare.h"

namespace zeroth::math {

namespace {

bool is_region_op(Op op) {
  switch (op) {
    case Op::kInterval:
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
    case Op::kSetBuilder:
    case Op::kSpecialSet:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Comparer::matrices(Ref gold, Ref pred, int depth) {
  if (!pool_.is(gold, Op::kMatrix) || !pool_.is(pred, Op::kMatrix)) return false;
  if (pool_[gold].data != pool_[pred].data) return false;
  return ordered(pool_.copy_children(gold), pool_.copy_children(pred), depth);
}

bool Comparer::ordered(const std::vector<Ref>& gold, const std::vector<Ref>& pred, int depth) {
  if (gold.size() != pred.size()) return false;
  for (size_t i = 0; i < gold.size(); ++i) {
    if (!compare(gold[i], pred[i], depth + 1)) return false;
  }
  return true;
}

std::vector<Ref> Comparer::distinct(const std::vector<Ref>& items, int depth) {
  std::vector<Ref> kept;
  std::vector<uint64_t> hashes;
  for (Ref item : items) {
    uint64_t h = pool_.hash(item);
    bool seen = false;
    for (size_t i = 0; i < kept.size() && !seen; ++i) {
      if (hashes[i] == h) {
        seen = true;
      } else if (is_scalar(item) && is_scalar(kept[i]) && items.size() <= 40) {
        seen = evaluator_.same_value(item, kept[i]);
      }
    }
    if (seen) continue;
    kept.push_back(item);
    hashes.push_back(h);
  }
  (void)depth;
  return kept;
}

bool Comparer::unordered(std::vector<Ref> gold, std::vector<Ref> pred, int depth) {
  gold = distinct(gold, depth);
  pred = distinct(pred, depth);
  if (gold.size() != pred.size()) return false;
  std::vector<bool> used(pred.size(), false);
  for (Ref g : gold) {
    bool found = false;
    for (size_t i = 0; i < pred.size() && !found; ++i) {
      if (used[i] || !compare(g, pred[i], depth + 1)) continue;
      used[i] = true;
      found = true;
    }
    if (!found) return false;
  }
  return true;
}

// Assignments to different variables: x = 2, y = 5. The roots x_1 = 2, x_2 = 5 stand in any order.
bool Comparer::names_members(const std::vector<Ref>& members) {
  std::vector<std::string> names;
  for (Ref member : members) {
    if (!is_assignment(member) || !pool_.is(pool_.child(member, 0), Op::kSymbol)) return false;
    const std::string& name = pool_.name(pool_.child(member, 0));
    names.push_back(name.substr(0, name.find('_')));
  }
  std::sort(names.begin(), names.end());
  return !names.empty() && std::adjacent_find(names.begin(), names.end()) == names.end();
}

bool Comparer::collections(Ref gold, Ref pred, int depth) {
  // "x < 0 or x < 1" has the members of "x < 0 and x < 1".
  const bool other_conjunction = pool_.is(gold, Op::kList) && pool_.is(pred, Op::kList) &&
                                 ((pool_[gold].flag ^ pool_[pred].flag) & kJoinedByOr) != 0 &&
                                 pool_.contains(gold, Op::kRelation);
  if (!other_conjunction && pool_.hash(gold) == pool_.hash(pred)) return true;
  // A gold inequality or set-builder accepts the interval that it describes; the other way only on
  // request.
  if (pool_.is(gold, Op::kRelation)) {
    Ref region = as_region(gold);
    if (region == kNoRef) return false;
    gold = region;
  }
  if (pool_.is(pred, Op::kRelation)) {
    if (!options_.allow_set_relation_comp) return false;
    Ref region = as_region(pred);
    if (region == kNoRef) return false;
    pred = region;
  }
  auto members = [&](Ref ref) -> std::vector<Ref> {
    Op op = pool_[ref].op;
    if (op == Op::kList || op == Op::kSet || op == Op::kTuple) return pool_.copy_children(ref);
    return {ref};
  };
  auto is_collection = [&](Ref ref) {
    Op op = pool_[ref].op;
    return op == Op::kList || op == Op::kSet || op == Op::kTuple;
  };
  bool g_tuple = pool_.is(gold, Op::kTuple), p_tuple = pool_.is(pred, Op::kTuple);
  bool g_region = is_region_op(pool_[gold].op), p_region = is_region_op(pool_[pred].op);
  if (!g_region && !p_region) {
    if (!is_collection(gold) && !is_collection(pred)) return false;
    if (is_collection(gold) != is_collection(pred)) {
      // {5} is 5.
      std::vector<Ref> one = members(is_collection(gold) ? gold : pred);
      if (one.size() != 1) return false;
      return is_collection(gold) ? compare(one[0], pred, depth + 1)
                                 : compare(gold, one[0], depth + 1);
    }
    std::vector<Ref> g = members(gold), p = members(pred);
    if (g_tuple && p_tuple) return ordered(g, p, depth);
    if (g_tuple && options_.strict)
      return ordered(g, p, depth);  // a set is read in its written order
    // x = 2, y = 5 is not (5, 2).
    if (names_members(g) && !names_members(p)) return ordered(g, p, depth);
    if (unordered(g, p, depth)) return true;
  }
  bool decided = false;
  bool same = same_region(gold, pred, &decided);
  if (decided) return same;
  return pieces(gold, pred, depth);
}

// Regions whose ends contain variables: the same pieces in any order.
bool Comparer::pieces(Ref gold, Ref pred, int depth) {
  Op op = pool_[gold].op;
  if (op == Op::kInterval && pool_.is(pred, Op::kInterval)) {
    return pool_[gold].flag == pool_[pred].flag &&
           ordered(pool_.copy_children(gold), pool_.copy_children(pred), depth);
  }
  if (op != pool_[pred].op || pool_[gold].count != pool_[pred].count) return false;
  if (op == Op::kUnion || op == Op::kIntersection) {
    std::vector<Ref> g, p;
    auto flatten = [&](auto&& self, Ref ref, std::vector<Ref>* out) -> void {
      if (!pool_.is(ref, op)) {
        out->push_back(ref);
        return;
      }
      for (Ref kid : pool_.copy_children(ref)) self(self, kid, out);
    };
    flatten(flatten, gold, &g);
    flatten(flatten, pred, &p);
    return unordered(g, p, depth);
  }
  if (op == Op::kDifference || op == Op::kSetBuilder) {
    return ordered(pool_.copy_children(gold), pool_.copy_children(pred), depth);
  }
  return false;
}

namespace {

// Membership of a cell: cell 2i+1 is the point ends[i], cell 2i the gap before it, the last cell
// the gap after all.
size_t index_of(const std::vector<Ref>& ends, Ref end) {
  return static_cast<size_t>(std::find(ends.begin(), ends.end(), end) - ends.begin());
}

}  // namespace

// All finite ends of `ref`, a region with constant ends; false when it is none.
bool Comparer::collect_ends(Ref ref, std::vector<Ref>* ends) {
  if (ends->size() > 200) return false;
  switch (pool_[ref].op) {
    case Op::kInterval:
    case Op::kTuple:
    case Op::kSet:
    case Op::kList:
      if (pool_.is(ref, Op::kTuple) && pool_[ref].count != 2) return false;
      for (Ref kid : pool_.copy_children(ref)) {
        if (!is_scalar(kid) || !pool_.is_constant(kid) || pool_.contains(kid, Op::kImaginary))
          return false;
        ends->push_back(kid);
      }
      return true;
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
      for (Ref kid : pool_.copy_children(ref)) {
        if (!collect_ends(kid, ends)) return false;
      }
      return true;
    case Op::kSpecialSet:
      return pool_.name(ref) == "R" || pool_.name(ref) == "empty" || pool_.name(ref) == "R^+" ||
             pool_.name(ref) == "R^-" || pool_.name(ref) == "R_+" || pool_.name(ref) == "R_>0";
    default:
      return false;
  }
}

// Sorts and adds the far ends of the line, which drop out of comparisons.
bool Comparer::sort_ends(std::vector<Ref>* ends) {
  std::vector<Ref> sorted;
  const Ref infinity = pool_.leaf(Op::kInfinity);
  ends->push_back(infinity);
  ends->push_back(pool_.neg(infinity));
  for (Ref end : *ends) {
    size_t at = 0;
    bool same = false;
    for (; at < sorted.size(); ++at) {
      auto order = evaluator_.order(end, sorted[at]);
      if (!order) return false;
      if (*order == 0) {
        same = true;
        break;
      }
      if (*order < 0) break;
    }
    if (!same) sorted.insert(sorted.begin() + static_cast<std::ptrdiff_t>(at), end);
  }
  *ends = std::move(sorted);
  return true;
}

bool Comparer::covers(Ref ref, const std::vector<Ref>& ends, size_t cell, bool* ok) {
  auto position = [&](Ref end) -> size_t {  // cell of the point `end`
    size_t i = index_of(ends, end);
    if (i < ends.size()) return 2 * i + 1;
    for (size_t k = 0; k < ends.size(); ++k) {
      auto order = evaluator_.order(end, ends[k]);
      if (order && *order == 0) return 2 * k + 1;
    }
    *ok = false;
    return 0;
  };
  const Node node = pool_[ref];
  switch (node.op) {
    case Op::kInterval:
    case Op::kTuple: {
      size_t lo = position(pool_.child(ref, 0)), hi = position(pool_.child(ref, 1));
      bool open_lo = node.op == Op::kTuple || (node.flag & kOpenLeft),
           open_hi = node.op == Op::kTuple || (node.flag & kOpenRight);
      if (node.op == Op::kTuple && lo >= hi) *ok = false;  // a pair, no interval
      return (cell > lo || (cell == lo && !open_lo)) && (cell < hi || (cell == hi && !open_hi));
    }
    case Op::kSet:
    case Op::kList:
      for (int i = 0; i < node.count; ++i) {
        if (position(pool_.child(ref, i)) == cell) return true;
      }
      return false;
    case Op::kUnion:
      return covers(pool_.child(ref, 0), ends, cell, ok) ||
             covers(pool_.child(ref, 1), ends, cell, ok);
    case Op::kIntersection:
      return covers(pool_.child(ref, 0), ends, cell, ok) &&
             covers(pool_.child(ref, 1), ends, cell, ok);
    case Op::kDifference:
      return covers(pool_.child(ref, 0), ends, cell, ok) &&
             !covers(pool_.child(ref, 1), ends, cell, ok);
    case Op::kSpecialSet: {
      if (pool_.name(ref) == "R") return true;
      if (pool_.name(ref) == "empty") return false;
      *ok = false;
      return false;
    }
    default:
      *ok = false;
      return false;
  }
}

// Both sides cut the real line into the same cells.
bool Comparer::same_region(Ref gold, Ref pred, bool* decided) {
  Ref g = as_region(gold), p = as_region(pred);
  if (g == kNoRef || p == kNoRef) return false;
  std::vector<Ref> ends;
  if (!collect_ends(g, &ends) || !collect_ends(p, &ends) || !sort_ends(&ends)) return false;
  bool ok = true;
  for (size_t cell = 2; cell < 2 * ends.size() - 1; ++cell) {
    bool in_gold = covers(g, ends, cell, &ok), in_pred = covers(p, ends, cell, &ok);
    if (!ok) return false;
    if (in_gold != in_pred) {
      *decided = true;
      return false;
    }
  }
  *decided = true;
  return true;
}

// Shown to hold no point.
bool Comparer::is_empty_region(Ref region) {
  std::vector<Ref> ends;
  if (!collect_ends(region, &ends) || !sort_ends(&ends)) return false;
  bool ok = true;
  for (size_t cell = 2; cell < 2 * ends.size() - 1; ++cell) {
    if (covers(region, ends, cell, &ok) || !ok) return false;
  }
  return true;
}

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
    // "x > 1, x < 3" is both; "x < 1 and x > 3" can only mean either.
    if ((node.flag & kJoinedByOr) == 0 && !is_empty_region(all)) return all;
    return whole;
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
  if (!evaluator_.same_value(pool_.sub(at2, at1), slope))
    return quadratic_region(difference, code, variable);
  auto sign = evaluator_.order(slope, pool_.integer(0));
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
  if (!evaluator_.same_value(polynomial, model)) return kNoRef;
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

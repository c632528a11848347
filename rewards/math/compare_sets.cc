// Lists, tuples, sets, regions of the real line and matrices.
#include <algorithm>

#include "rewards/math/compare.h"

namespace zeroth::math {

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
        seen = same_value(evaluation_, item, kept[i]);
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

bool Comparer::has_inequality(Ref ref) const {
  for (Ref member : pool_.children(ref)) {
    if (pool_.is(member, Op::kRelation) && !is_equation(member)) return true;
  }
  return false;
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
    const bool parts = pool_.is(gold, Op::kList) && has_inequality(gold);  // x > 1 and x < 3
    if (!options_.allow_set_relation_comp && !parts) return false;
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
      if (one.size() != 1) {
        // The same value in two forms: "1/2, or 0.5".
        if (!pool_.is(pred, Op::kList) || is_collection(gold) || one.size() > 8) return false;
        for (size_t i = 1; i < one.size(); ++i) {
          if (!compare(gold, one[i], depth + 1)) return false;
        }
      }
      return is_collection(gold) ? compare(one[0], pred, depth + 1)
                                 : compare(gold, one[0], depth + 1);
    }
    std::vector<Ref> g = members(gold), p = members(pred);
    if (g_tuple && p_tuple) return ordered(g, p, depth);
    if (g_tuple && options_.strict)
      return ordered(g, p, depth);  // a set is read in its written order
    // "x < 1 and x > 3" is no union: where conjunctions differ, the regions decide.
    if (other_conjunction && has_inequality(gold) && has_inequality(pred)) {
      bool decided = false;
      const bool same = same_region(gold, pred, &decided);
      if (decided) return same;
    }
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
      const auto side = order(evaluation_, end, sorted[at]);
      if (!side) return false;
      if (*side == 0) {
        same = true;
        break;
      }
      if (*side < 0) break;
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
      const auto side = order(evaluation_, end, ends[k]);
      if (side && *side == 0) return 2 * k + 1;
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

}  // namespace zeroth::math

#include "rewards/math/collections.h"

#include <algorithm>

#include "rewards/math/relation.h"
#include "rewards/math/same_scalar.h"
#include "rewards/math/same_value.h"
#include "rewards/math/solution_set.h"

namespace zeroth::math {

namespace {

bool is_collection(const Pool& pool, Ref ref) {
  return pool.is(ref, Op::kList) || pool.is(ref, Op::kSet) || pool.is(ref, Op::kTuple);
}

std::vector<Ref> members_of(const Pool& pool, Ref ref) {
  return is_collection(pool, ref) ? pool.copy_children(ref) : std::vector<Ref>{ref};
}

bool same_in_order(Comparer& comparer, const std::vector<Ref>& gold, const std::vector<Ref>& pred,
                   int depth) {
  if (gold.size() != pred.size()) return false;
  for (size_t i = 0; i < gold.size(); ++i) {
    if (!comparer.compare(gold[i], pred[i], depth + 1)) return false;
  }
  return true;
}

// The items without repetitions. Of more than 40, only those of equal structure are seen.
std::vector<Ref> distinct(Evaluation& evaluation, const std::vector<Ref>& items) {
  const Pool& pool = evaluation.pool();
  std::vector<Ref> kept;
  std::vector<uint64_t> hashes;
  for (Ref item : items) {
    const uint64_t h = pool.hash(item);
    bool seen = false;
    for (size_t i = 0; i < kept.size() && !seen; ++i) {
      if (hashes[i] == h) {
        seen = true;
      } else if (is_scalar(pool, item) && is_scalar(pool, kept[i]) && items.size() <= 40) {
        seen = same_value(evaluation, item, kept[i]);
      }
    }
    if (seen) continue;
    kept.push_back(item);
    hashes.push_back(h);
  }
  return kept;
}

bool same_in_any_order(Comparer& comparer, const std::vector<Ref>& gold,
                       const std::vector<Ref>& pred, int depth) {
  const std::vector<Ref> g = distinct(comparer.evaluation(), gold);
  const std::vector<Ref> p = distinct(comparer.evaluation(), pred);
  if (g.size() != p.size()) return false;
  std::vector<bool> used(p.size(), false);
  for (Ref wanted : g) {
    bool found = false;
    for (size_t i = 0; i < p.size() && !found; ++i) {
      if (used[i] || !comparer.compare(wanted, p[i], depth + 1)) continue;
      used[i] = found = true;
    }
    if (!found) return false;
  }
  return true;
}

// Assignments to different variables: x = 2, y = 5. The roots x_1 = 2, x_2 = 5 are none of these:
// they stand in any order.
bool assigns_each(const Pool& pool, const std::vector<Ref>& members) {
  std::vector<std::string> names;
  for (Ref member : members) {
    if (!is_assignment(pool, member) || !pool.is(pool.child(member, 0), Op::kSymbol)) return false;
    const std::string& name = pool.name(pool.child(member, 0));
    names.push_back(name.substr(0, name.find('_')));
  }
  std::sort(names.begin(), names.end());
  return !names.empty() && std::adjacent_find(names.begin(), names.end()) == names.end();
}

// One value against a collection: {5} is 5.
bool same_single(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  const bool from_gold = is_collection(pool, gold);
  const std::vector<Ref> members = members_of(pool, from_gold ? gold : pred);
  if (members.size() != 1) {
    // The same value in two forms: "1/2, or 0.5".
    if (!pool.is(pred, Op::kList) || from_gold || members.size() > 8) return false;
    for (size_t i = 1; i < members.size(); ++i) {
      if (!comparer.compare(gold, members[i], depth + 1)) return false;
    }
  }
  return from_gold ? comparer.compare(members[0], pred, depth + 1)
                   : comparer.compare(gold, members[0], depth + 1);
}

// "x < 0 or x < 1" has the members of "x < 0 and x < 1".
bool differ_in_conjunction(const Pool& pool, Ref gold, Ref pred) {
  return pool.is(gold, Op::kList) && pool.is(pred, Op::kList) &&
         ((pool[gold].flag ^ pool[pred].flag) & kJoinedByOr) != 0 &&
         pool.contains(gold, Op::kRelation);
}

// Two collections by their members; nullopt when their points have to decide.
std::optional<bool> same_members(Comparer& comparer, Ref gold, Ref pred, bool other_conjunction,
                                 int depth) {
  const Pool& pool = comparer.pool();
  const std::vector<Ref> g = members_of(pool, gold), p = members_of(pool, pred);
  // A set or list is read in its written order where a tuple is asked for.
  if (pool.is(gold, Op::kTuple) && (pool.is(pred, Op::kTuple) || comparer.options().strict))
    return same_in_order(comparer, g, p, depth);
  // "x < 1 and x > 3" is no union: where conjunctions differ, the regions decide.
  if (other_conjunction && has_inequality(pool, gold) && has_inequality(pool, pred)) {
    if (const auto same = same_solutions(comparer.evaluation(), gold, pred)) return same;
  }
  // x = 2, y = 5 is not (5, 2).
  if (assigns_each(pool, g) && !assigns_each(pool, p)) return same_in_order(comparer, g, p, depth);
  if (same_in_any_order(comparer, g, p, depth)) return true;
  return std::nullopt;
}

// The operands of nested unions (or intersections) in one row.
void flatten(const Pool& pool, Op op, Ref ref, std::vector<Ref>* out) {
  if (!pool.is(ref, op)) {
    out->push_back(ref);
    return;
  }
  for (Ref kid : pool.children(ref)) flatten(pool, op, kid, out);
}

// Regions whose ends contain variables: the same pieces in any order.
bool same_pieces(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  const Op op = pool[gold].op;
  const auto same_parts = [&] {
    return same_in_order(comparer, pool.copy_children(gold), pool.copy_children(pred), depth);
  };
  if (op != pool[pred].op) return false;
  if (op == Op::kInterval) return pool[gold].flag == pool[pred].flag && same_parts();
  if (pool[gold].count != pool[pred].count) return false;
  if (op == Op::kUnion || op == Op::kIntersection) {
    std::vector<Ref> g, p;
    flatten(pool, op, gold, &g);
    flatten(pool, op, pred, &p);
    return same_in_any_order(comparer, g, p, depth);
  }
  if (op == Op::kSetBuilder && ((pool[gold].flag ^ pool[pred].flag) & kJoinedByOr) != 0)
    return false;
  return (op == Op::kDifference || op == Op::kSetBuilder) && same_parts();
}

}  // namespace

bool same_matrix(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  if (!pool.is(gold, Op::kMatrix) || !pool.is(pred, Op::kMatrix)) return false;
  if (pool[gold].data != pool[pred].data) return false;
  return same_in_order(comparer, pool.copy_children(gold), pool.copy_children(pred), depth);
}

Ref matrix_of_rows(Pool& pool, Ref ref) {
  const auto is_row = [&](Ref row) {
    return pool.is(row, Op::kTuple) || (pool.is(row, Op::kInterval) && pool[row].flag == 0);
  };
  if (!is_row(ref)) return kNoRef;
  std::vector<Ref> cells;
  int columns = 0;
  for (Ref row : pool.children(ref)) {
    if (!is_row(row) || (columns != 0 && pool[row].count != columns)) return kNoRef;
    columns = pool[row].count;
    for (Ref cell : pool.children(row)) cells.push_back(cell);
  }
  return pool.make(Op::kMatrix, cells, columns);
}

bool same_collection(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  Evaluation& evaluation = comparer.evaluation();
  const bool other_conjunction = differ_in_conjunction(pool, gold, pred);
  if (!other_conjunction && pool.hash(gold) == pool.hash(pred)) return true;
  // A gold inequality or set-builder accepts the interval that it describes; the other way only on
  // request.
  if (pool.is(gold, Op::kRelation)) {
    gold = solution_set(evaluation, gold);
    if (gold == kNoRef) return false;
  }
  if (pool.is(pred, Op::kRelation)) {
    const bool parts = pool.is(gold, Op::kList) && has_inequality(pool, gold);  // x > 1 and x < 3
    if (!comparer.options().allow_set_relation_comp && !parts) return false;
    pred = solution_set(evaluation, pred);
    if (pred == kNoRef) return false;
  }
  if (!is_region_op(pool[gold].op) && !is_region_op(pool[pred].op)) {
    const bool g = is_collection(pool, gold), p = is_collection(pool, pred);
    if (!g && !p) return false;
    if (g != p) return same_single(comparer, gold, pred, depth);
    if (const auto same = same_members(comparer, gold, pred, other_conjunction, depth))
      return *same;
  }
  if (const auto same = same_solutions(evaluation, gold, pred)) return *same;
  return same_pieces(comparer, gold, pred, depth);
}

}  // namespace zeroth::math

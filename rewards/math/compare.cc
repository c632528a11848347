#include "rewards/math/compare.h"

#include "rewards/math/collections.h"
#include "rewards/math/relation.h"
#include "rewards/math/same_cases.h"
#include "rewards/math/same_relation.h"
#include "rewards/math/same_scalar.h"
#include "rewards/math/same_text.h"
#include "rewards/math/solution_set.h"
#include "rewards/math/unit_vectors.h"

namespace zeroth::math {

namespace {

// Not strict: the n-th variable of one side stands for the n-th of the other. `pred` with its
// variables renamed; kNoRef when the pool is full.
Ref match_variables(Pool& pool, Ref gold, Ref pred) {
  const std::vector<int32_t> from = pool.free_symbols(pred), to = pool.free_symbols(gold);
  if (from.size() != to.size() || from == to) return pred;
  // Through fresh names, so that swaps work.
  for (size_t i = 0; i < from.size() && pred != kNoRef; ++i) {
    pred = pool.substitute(pred, from[i], pool.symbol("?" + std::to_string(i)));
  }
  for (size_t i = 0; i < from.size() && pred != kNoRef; ++i) {
    const Ref target = pool.symbol(pool.name_of(to[i]));
    pred = pool.substitute(pred, pool.intern("?" + std::to_string(i)), target);
  }
  return pred;
}

}  // namespace

bool Comparer::equivalent(Ref gold, Ref pred) {
  if (!options_.strict) pred = match_variables(pool(), gold, pred);
  if (pred == kNoRef) return false;
  return compare(gold, pred, 0);
}

bool Comparer::same_number(Ref gold, Ref pred) {
  return is_scalar(pool(), gold) && is_scalar(pool(), pred) &&
         math::same_number(evaluation_, gold, pred);
}

bool Comparer::compare(Ref gold, Ref pred, int depth) {
  Pool& pool = this->pool();
  if (++calls_ > kMaxCalls || depth > kMaxDepth || pool.full()) return false;
  // An equation given where a value is asked for means its right side; a gold assignment accepts
  // the bare value.
  const bool gold_equation = is_equation(pool, gold), pred_equation = is_equation(pool, pred);
  if (gold_equation) gold = oriented(pool, gold);
  if (pred_equation) pred = oriented(pool, pred);
  if (pred_equation && !gold_equation) {
    // "x in S" states the same region as an inequality; an equation does not.
    if (pool.is(gold, Op::kRelation) && !is_membership(pool, pred)) return false;
    if (contradicts_itself(evaluation_, pred)) return false;
    // "x^2 = 9" is an equation to be solved, not the answer 9.
    if (is_scalar(pool, gold) && pool.is_constant(gold) && is_unsolved(pool, pred)) return false;
    return compare(gold, last_term(pool, pred), depth + 1);
  }
  // A gold "x in S" is a statement about x, as an inequality is.
  if (gold_equation && is_membership(pool, gold) && pool.is(pred, Op::kRelation) &&
      !pred_equation) {
    const Ref region = solution_set(evaluation_, pred);
    return region != kNoRef && compare(last_term(pool, gold), region, depth + 1);
  }
  if (gold_equation && !pred_equation) {
    const bool chain = pool[gold].count > 2;
    if (is_assignment(pool, gold) || chain) return compare(last_term(pool, gold), pred, depth + 1);
    return is_scalar(pool, pred) && solved_by(evaluation_, gold, pred);
  }
  return compare_values(gold, pred, depth);
}

bool Comparer::compare_values(Ref gold, Ref pred, int depth) {
  Pool& pool = this->pool();
  if (same_other_form(gold, pred, depth)) return true;
  if (pool.is(gold, Op::kRelation) && pool.is(pred, Op::kRelation))
    return same_relation(*this, gold, pred, depth);
  if (pool.is(gold, Op::kMatrix) || pool.is(pred, Op::kMatrix))
    return same_matrix(*this, gold, pred, depth);
  if (pool.is(gold, Op::kBase) || pool.is(pred, Op::kBase)) return same_digits(pool, gold, pred);
  const auto is_plain = [&](Ref ref) { return is_scalar(pool, ref) || pool.is(ref, Op::kText); };
  if (!is_plain(gold) || !is_plain(pred)) return same_collection(*this, gold, pred, depth);
  if (same_text(pool, gold, pred)) return true;
  if (pool.is(gold, Op::kText) || pool.is(pred, Op::kText)) return false;
  return same_scalar(evaluation_, gold, pred);
}

// Forms that are equal by what they stand for: values by cases, a yes or no with its reason,
// vectors over i, j and k, matrices in brackets, letters of several choices.
bool Comparer::same_other_form(Ref gold, Ref pred, int depth) {
  Pool& pool = this->pool();
  if (is_cases(pool, gold) || is_cases(pool, pred))
    return is_cases(pool, gold) && is_cases(pool, pred) && same_cases(*this, gold, pred, depth);
  if (pool.is(gold, Op::kText) && affirms(pool, gold, pred)) return true;
  if (is_vector(pool, gold) && is_scalar(pool, pred))
    return same_vector(*this, {.tuple = gold, .sum = pred}, depth);
  if (is_vector(pool, pred) && is_scalar(pool, gold))
    return same_vector(*this, {.tuple = pred, .sum = gold}, depth);
  if (pool.is(gold, Op::kMatrix) != pool.is(pred, Op::kMatrix)) {
    const bool gold_matrix = pool.is(gold, Op::kMatrix);
    const Ref rows = matrix_of_rows(pool, gold_matrix ? pred : gold);
    if (rows != kNoRef)
      return same_matrix(*this, gold_matrix ? gold : rows, gold_matrix ? rows : pred, depth);
  }
  if (is_scalar(pool, gold) && is_scalar(pool, pred) &&
      has_accented_unit(pool, gold) != has_accented_unit(pool, pred) &&
      math::same_number(evaluation_, plain_units(pool, gold), plain_units(pool, pred)))
    return true;
  const std::string letters = choice_letters(pool, gold);
  return letters.size() > 1 && letters == choice_letters(pool, pred);
}

}  // namespace zeroth::math

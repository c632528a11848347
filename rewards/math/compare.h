// Equivalence of parsed answers. `gold` decides which forms are enough (docs/math.md has the
// rules).
#pragma once

#include <string>
#include <vector>

#include "rewards/math/evaluation.h"
#include "rewards/math/same_value.h"

namespace zeroth::math {

class Comparer {
 public:
  Comparer(Pool& pool, const MathOptions& options)
      : pool_(pool), options_(options), evaluation_(pool, options.float_rounding) {}

  bool equivalent(Ref gold, Ref pred);
  // The same numbers, whatever the marks of unit and degree say: 60 radians is not 60 degrees.
  bool same_number(Ref gold, Ref pred) {
    return is_scalar(gold) && is_scalar(pred) && numbers(gold, pred);
  }
  // The comparison ran out of steps, so "no" means "not shown".
  bool exhausted() const { return evaluation_.exhausted() || calls_ > kMaxCalls; }

 private:
  static constexpr int kMaxCalls = 20'000;

  // compare.cc
  bool compare(Ref gold, Ref pred, int depth);
  bool compare_unwrapped(Ref gold, Ref pred, int depth);
  bool scalars(Ref gold, Ref pred);
  bool numbers(Ref gold, Ref pred);
  bool percent_or_degree(Ref gold, Ref pred, bool* decided);
  bool bases(Ref gold, Ref pred);
  bool ratios(Ref gold, Ref pred);
  bool texts(Ref gold, Ref pred);
  bool unit_stripped(Ref gold, Ref pred);
  bool unsolved(Ref equation) const;

  // compare_forms.cc: letters of choices, vectors over i, j, k, values by cases, yes and no
  bool other_forms(Ref gold, Ref pred, int depth);
  std::string choice_letters(Ref ref) const;
  bool same_vector(Ref tuple, Ref expression, int depth);
  bool same_cases(Ref gold, Ref pred, int depth);
  bool same_condition(Ref gold, Ref pred, int depth);
  bool affirms(Ref gold, Ref pred) const;
  bool names_units(Ref ref) const;
  Ref plain_units(Ref ref);
  Ref as_matrix(Ref ref);
  std::string spelling(Ref ref) const;
  bool is_scalar(Ref ref) const;
  bool has_inequality(Ref ref) const;
  Ref match_variables(Ref gold, Ref pred);

  // compare_sets.cc
  bool collections(Ref gold, Ref pred, int depth);
  bool unordered(std::vector<Ref> gold, std::vector<Ref> pred, int depth);
  bool ordered(const std::vector<Ref>& gold, const std::vector<Ref>& pred, int depth);
  bool matrices(Ref gold, Ref pred, int depth);
  bool names_members(const std::vector<Ref>& members);
  std::vector<Ref> distinct(const std::vector<Ref>& items, int depth);
  bool same_region(Ref gold, Ref pred, bool* decided);
  bool collect_ends(Ref ref, std::vector<Ref>* ends);
  bool covers(Ref ref, const std::vector<Ref>& ends, size_t cell, bool* ok);
  bool sort_ends(std::vector<Ref>* ends);
  bool pieces(Ref gold, Ref pred, int depth);
  bool is_empty_region(Ref region);

  // compare_regions.cc
  Ref as_region(Ref ref);
  Ref quadratic_region(Ref polynomial, char code, int32_t variable);
  Ref relation_region(Ref left, char code, Ref right, int32_t variable);

  // compare_relations.cc
  bool relations(Ref gold, Ref pred, int depth);
  bool congruences(Ref gold, Ref pred, int depth);
  bool equations(Ref gold, Ref pred);
  bool inequality_chains(Ref gold, Ref pred);
  bool solved_form(Ref relation) const;
  bool same_polynomial_zeros(Ref a, Ref b);
  bool is_assignment(Ref ref) const;
  bool only_names(Ref ref) const;
  bool is_equation(Ref ref) const;
  Ref oriented(Ref equation);
  bool same_name(Ref gold, Ref pred, int depth);
  bool false_statement(Ref equation);
  Ref last_term(Ref relation) const;
  bool definitions(Ref gold, Ref pred, int depth);
  bool solved_by(Ref equation, Ref expression);
  std::string codes(Ref relation) const { return pool_.name(relation); }

  Pool& pool_;
  const MathOptions& options_;
  Evaluation evaluation_;
  int calls_ = 0;
};

}  // namespace zeroth::math

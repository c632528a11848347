// Equivalence of parsed answers. `gold` decides which forms are enough (docs/math.md has the
// rules). The comparisons of single kinds of answers (same_relation.h, collections.h, ..) share one
// Comparer: its pool, its budget, and its way back to compare() for the parts of an answer.
#pragma once

#include "rewards/math/evaluation.h"
#include "rewards/math/math_grader.h"

namespace zeroth::math {

// Not thread safe; one per pair of answers. Both sides lie in `pool`.
class Comparer {
 public:
  Comparer(Pool& pool, const MathOptions& options)
      : options_(options), evaluation_(pool, options.float_rounding) {}

  // Whether `pred` answers what `gold` asks for. Not symmetric. What cannot be shown within the
  // budget counts as different; exhausted() tells.
  bool equivalent(Ref gold, Ref pred);
  // The same numbers, whatever the marks of unit and degree say: 60 radians is not 60 degrees.
  bool same_number(Ref gold, Ref pred);
  // The comparison ran out of steps, so "no" means "not shown".
  bool exhausted() const { return evaluation_.exhausted() || calls_ > kMaxCalls; }

  // equivalent() for parts: `depth` counts how deep they lie, and beyond kMaxDepth nothing is
  // equal.
  bool compare(Ref gold, Ref pred, int depth);
  static constexpr int kMaxDepth = 50;

  Pool& pool() { return evaluation_.pool(); }
  const MathOptions& options() const { return options_; }
  Evaluation& evaluation() { return evaluation_; }

 private:
  static constexpr int kMaxCalls = 20'000;

  bool compare_values(Ref gold, Ref pred, int depth);
  bool same_other_form(Ref gold, Ref pred, int depth);

  const MathOptions& options_;
  Evaluation evaluation_;
  int calls_ = 0;
};

}  // namespace zeroth::math

// Vectors written over the unit vectors i, j and k.
#pragma once

#include "rewards/math/compare.h"

namespace zeroth::math {

// A tuple or column of two or three components.
bool is_vector(const Pool& pool, Ref ref);

// (1, 2, 3) and i + 2j + 3k.
struct VectorForms {
  Ref tuple;
  Ref sum;
};
bool same_vector(Comparer& comparer, const VectorForms& forms, int depth);

// A sum or product that holds a unit vector with its accent: \hat{i}, \vec{j}.
bool has_accented_unit(const Pool& pool, Ref ref);
// With i, j and k in place of their accented forms.
Ref plain_units(Pool& pool, Ref ref);

}  // namespace zeroth::math

// Lists, tuples, sets, matrices and regions, member by member.
#pragma once

#include "rewards/math/compare.h"

namespace zeroth::math {

// Answers of which one at least is a collection, a region or an inequality: as members, in the
// gold's order or in any, and as sets of points of the real line.
bool same_collection(Comparer& comparer, Ref gold, Ref pred, int depth);
// Matrices of the same shape with the same entries; false when one side is none.
bool same_matrix(Comparer& comparer, Ref gold, Ref pred, int depth);
// [[1, 2], [3, 4]], rows in brackets as programs print a matrix, as a matrix; kNoRef for anything
// else.
Ref matrix_of_rows(Pool& pool, Ref ref);

}  // namespace zeroth::math

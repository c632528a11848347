// What a relation of an answer is: an assignment, an equation to be solved, a membership.
#pragma once

#include <string>

#include "rewards/math/expr.h"

namespace zeroth::math {

// The signs of a kRelation, one between each pair of terms, as RelationCodes. Valid until the next
// name is made.
inline const std::string& signs_of(const Pool& pool, Ref relation) { return pool.name(relation); }

inline bool is_less(RelationCode code) { return code == kLt || code == kLe; }
inline bool is_greater(RelationCode code) { return code == kGt || code == kGe; }
// Without the end point: < and >.
inline bool is_strict(RelationCode code) { return code == kLt || code == kGt; }
// The sign with its sides exchanged: > for <; other signs as they are.
RelationCode mirrored(RelationCode code);

// "x in S" and nothing else.
bool is_membership(const Pool& pool, Ref relation);
// "a = b (mod m)".
bool is_congruence(const Pool& pool, Ref relation);
// A relation that states a value: equations and chains of them, memberships (x in S states the
// solution set) and congruences (x = a (mod m) states the residue).
bool is_equation(const Pool& pool, Ref ref);
// What an answer may be assigned to: names, applications, segments |AB|, quotients and tuples of
// names.
bool only_names(const Pool& pool, Ref ref);
// An equation with only names on the left: "x = 5".
bool is_assignment(const Pool& pool, Ref ref);
// A polynomial in one variable, more than its name, set equal to a constant: "x^2 = 9".
bool is_unsolved(const Pool& pool, Ref equation);
// Constants and one bare variable: "1 < x < 3".
bool is_solved(const Pool& pool, Ref relation);
// A relation among the members that is no equation.
bool has_inequality(const Pool& pool, Ref collection);

// The value that a relation ends in, before any modulus.
Ref last_term(const Pool& pool, Ref relation);
// "7 = x" as "x = 7"; other relations as they are.
Ref oriented(Pool& pool, Ref equation);

}  // namespace zeroth::math

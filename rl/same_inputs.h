// That the ranks of a job work on the same things: machines may see other files under one name.
#pragma once

#include <string>

#include "core/json.h"
#include "policy/policy.h"
#include "ranks/team.h"

namespace zeroth {

// Every rank calls them, with the same names; they wait for all, and throw Error on every rank,
// naming the first rank that differs from rank 0.
// Of the parameters those that all ranks have: experts that only one has are not another's to
// compare. `what`: "weights", "weights of the teacher".
void check_same_weights(Team& team, const Policy& policy, const std::string& what);
// As fingerprint_inputs() names them (rl/inputs.h).
void check_same_inputs(Team& team, const Json& inputs);

}  // namespace zeroth

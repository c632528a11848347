// What the trainer does about routers: whether they learn, how evenly they choose, and biases that
// even it out.
#pragma once

#include <string>
#include <vector>

#include "policy/policy.h"

namespace zeroth {

// Marks what learns: nothing whose name contains one of `freeze`, routers when `train_router`;
// selection biases never do by gradient. Returns the policy. Throws Error(kUsage) when a name is met
// nowhere, or nothing is left to learn.
Policy& with_frozen(Policy& policy, const std::vector<std::string>& freeze, bool train_router);

// Maximum over layers of max load / mean load - 1; 0 when nothing was routed.
double max_violation(const RouterStats& stats);
void add_load(const RouterStats& from, RouterStats& to);

// b_e -= rate where expert e has more than the mean load, += rate where it has less (DeepSeek-V3,
// section 2.1.2).
void balance_selection(Parameters& parameters, const RouterStats& stats, double rate);

}  // namespace zeroth

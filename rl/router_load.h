// How evenly routers choose experts, and biases that even it out.
#pragma once

#include "policy/policy.h"

namespace zeroth {

// Maximum over layers of max load / mean load - 1; 0 when nothing was routed.
double max_violation(const RouterStats& stats);
void add_load(const RouterStats& from, RouterStats& to);

// b_e -= rate where expert e has more than the mean load, += rate where it has less (DeepSeek-V3,
// section 2.1.2).
void balance_selection(Parameters& parameters, const RouterStats& stats, double rate);

}  // namespace zeroth

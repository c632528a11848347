// What of a policy learns in a run.
#pragma once

#include <string>
#include <vector>

#include "policy/policy.h"

namespace zeroth {

// Marks what learns: nothing whose name contains one of `freeze`, routers when `train_router`;
// selection biases never do by gradient. Returns the policy. Throws Error(kUsage) when a name is met
// nowhere, or nothing is left to learn.
Policy& with_frozen(Policy& policy, const std::vector<std::string>& freeze, bool train_router);

}  // namespace zeroth

// What every back end asks of a router.
#pragma once

#include "kernels/moe.h"

namespace zeroth::kernels {

// Throws Error when top_k does not fit in the chosen groups, or groups do not divide experts.
void check_router(const RouterConfig& config);

}  // namespace zeroth::kernels

// The moments of an optimizer whose shards are with several ranks, as one array in the file.
#pragma once

#include <functional>
#include <span>

#include "learn/optimizer.h"
#include "ranks/team.h"

namespace zeroth {

// All ranks call it. On rank 0 `write` gets both moments, first all of the first one, laid out like
// the parameters, piece by piece; nothing is kept of other ranks' shards.
void gather_moments(AdamW& optimizer, Team& team,
                    const std::function<void(std::span<const float>)>& write);

}  // namespace zeroth

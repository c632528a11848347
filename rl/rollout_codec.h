// Rollouts as bytes: what a checkpoint keeps of steps that are sampled but not trained on yet.
#pragma once

#include <map>
#include <string>

#include "rl/rollouts.h"

namespace zeroth {

// By step. Everything but tickets and timings comes back bit for bit.
std::string pack_rollouts(const std::map<int64_t, Rollout>& rollouts);
// Throws Error that names `source` for anything that pack_rollouts has not made.
std::map<int64_t, Rollout> unpack_rollouts(const std::string& bytes, const std::string& source);

}  // namespace zeroth

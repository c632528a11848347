// Rollouts as bytes: what a checkpoint keeps of steps that are sampled but not trained on yet, and
// what ranks exchange.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "rl/rollouts.h"

namespace zeroth {

// By step. Everything but tickets and timings comes back bit for bit.
std::string pack_rollouts(const std::map<int64_t, Rollout>& rollouts);
// Throws Error that names `source` for anything that pack_rollouts has not made.
std::map<int64_t, Rollout> unpack_rollouts(const std::string& bytes, const std::string& source);

// What the ranks of a team send each other: samples [request][sample] as they were drawn, and
// verdicts [sample]. Everything comes back bit for bit; throws Error that names `source` otherwise.
std::string pack_samples(std::span<const std::vector<Sample>> samples);
std::vector<std::vector<Sample>> unpack_samples(const std::string& bytes,
                                                const std::string& source);
std::string pack_verdicts(std::span<const std::vector<Verdict>> verdicts);
std::vector<std::vector<Verdict>> unpack_verdicts(const std::string& bytes,
                                                  const std::string& source);

}  // namespace zeroth

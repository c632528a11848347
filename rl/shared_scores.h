// Log-probs and entropies of samples, which the ranks of a team compute in shares and all need.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "core/trajectory.h"
#include "ranks/team.h"
#include "rl/micro_batch.h"

namespace zeroth {

struct SampleScores {
  std::vector<float> logprobs, entropies;  // [tokens]
};
using ScoresBySample = std::vector<std::vector<SampleScores>>;  // [group][sample]

// What each rank computed of its share of the leaves, as text; `stopped` may be looked at before
// take_scores().
std::vector<std::string> gather_scores(Team& team, std::string_view what,
                                       std::span<const GroupSlice> leaves, LeafShare mine,
                                       const ScoresBySample& scores);
// Fills in what the others computed. Throws Error when a rank sent something else.
void take_scores(const Team& team, const std::vector<std::string>& texts,
                 std::span<const Group> groups, std::span<const GroupSlice> leaves,
                 const std::function<LeafShare(int rank)>& share, ScoresBySample& scores);

}  // namespace zeroth

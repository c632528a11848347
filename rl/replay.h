// Replay of groups with signal: where a group's rewards are all equal it teaches nothing, and a group
// of some steps before that did takes its place in the update. The samples are of older weights:
// ratios compare with what they were sampled with, and the clip bounds them. Sources: RePO, arXiv
// 2506.09340; ARPO, arXiv 2505.16282.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "core/trajectory.h"
#include "rl/replay_config.h"
#include "rollout/sampler.h"

namespace zeroth {

// What a step trains on in place of groups without signal: (index of the group, number of the kept
// one).
using Replacements = std::vector<std::pair<size_t, size_t>>;

// Deterministic; state() and restore() carry it through checkpoints. Not thread safe.
class GroupReplay {
 public:
  explicit GroupReplay(const ReplayConfig& config) : config_(config) {}

  // The newest kept groups first, each for the first group without signal that is left. Changes
  // nothing.
  Replacements choose(int64_t step, const std::vector<Group>& groups) const;
  const Group& group(size_t number) const { return kept_[number].group; }
  // The step was made: counts what was used, forgets what is used up or too old for the next step,
  // and keeps the step's own groups with signal, with the advantages that they have.
  void settle(int64_t step, const std::vector<Group>& groups, const Replacements& used);

  std::string state() const;  // bytes
  // Throws Error that names `source` for anything that state() has not made.
  void restore(const std::string& state, const std::string& source);
  size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    int64_t step = 0;
    int uses = 0;
    Group group;
  };
  const ReplayConfig config_;
  std::deque<Kept> kept_;  // in the order in which they came
};

// Groups as the update sees them, with the tickets of their samples; replaced ones have none.
std::vector<Group> with_replay(const std::vector<Group>& groups, const Replacements& chosen,
                               const GroupReplay& replay, Tickets& tickets);

}  // namespace zeroth

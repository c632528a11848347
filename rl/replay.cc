#include "rl/replay.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "rl/rollout_codec.h"

namespace zeroth {

Replacements GroupReplay::choose(int64_t step, const std::vector<Group>& groups) const {
  Replacements out;
  const auto most = static_cast<size_t>(config_.share * static_cast<double>(groups.size()) + 1e-9);
  size_t next = kept_.size();
  for (size_t g = 0; g < groups.size() && out.size() < most; ++g) {
    if (!groups[g].zero_variance) continue;
    while (next > 0 && step - kept_[next - 1].step > config_.max_age) --next;
    if (next == 0) break;
    out.emplace_back(g, --next);
  }
  return out;
}

void GroupReplay::settle(int64_t step, const std::vector<Group>& groups, const Replacements& used) {
  if (config_.share == 0) return;
  for (const auto& [group, number] : used) ++kept_[number].uses;
  std::erase_if(kept_, [&](const Kept& kept) {
    return kept.uses >= config_.uses || step + 1 - kept.step > config_.max_age;
  });
  for (const Group& group : groups) {
    if (!group.zero_variance) kept_.push_back({step, 0, group});
  }
}

std::string GroupReplay::state() const {
  // A rollout for each, by its place; `draws` is the step that it is of, `rounds` its uses.
  std::map<int64_t, Rollout> rollouts;
  for (size_t i = 0; i < kept_.size(); ++i) {
    Rollout& rollout = rollouts[static_cast<int64_t>(i)];
    rollout.groups = {kept_[i].group};
    rollout.draws = kept_[i].step;
    rollout.rounds = kept_[i].uses;
  }
  return pack_rollouts(rollouts);
}

void GroupReplay::restore(const std::string& state, const std::string& source) {
  kept_.clear();
  for (auto& [place, rollout] : unpack_rollouts(state, source)) {
    if (rollout.groups.size() != 1) fail(source + ": no list of groups");
    kept_.push_back({rollout.draws, rollout.rounds, std::move(rollout.groups[0])});
  }
}

std::vector<Group> with_replay(const std::vector<Group>& groups, const Replacements& chosen,
                               const GroupReplay& replay, Tickets& tickets) {
  std::vector<Group> out = groups;
  for (const auto& [group, number] : chosen) {
    out[group] = replay.group(number);
    if (group < tickets.size()) tickets[group].assign(out[group].samples.size(), {});
  }
  return out;
}

}  // namespace zeroth

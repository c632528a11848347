#include "rl/set_aside.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "rl/rollout_codec.h"

namespace zeroth {

BudgetedRequests::BudgetedRequests(const std::vector<OpenGroup>& open,
                                   std::vector<GenerationRequest> whole, int64_t budget,
                                   int64_t context) {
  for (size_t g = 0; g < open.size(); ++g) {
    GenerationRequest& request = whole[g];
    const int64_t room = context - static_cast<int64_t>(request.prompt.size());
    most_tokens_.push_back(std::min<int64_t>(request.sampling.max_tokens, room));
    bounds_.push_back(std::min(most_tokens_[g], std::max<int64_t>(0, open[g].drawn) + budget));
    request.sampling.max_tokens = static_cast<int>(bounds_[g]);
    if (open[g].drawn == OpenGroup::kFresh) {
      places_.push_back({g, -1});
      requests_.push_back(std::move(request));
      continue;
    }
    for (int i = 0; i < request.samples; ++i) {
      const Sample& sample = open[g].group.samples[i];
      if (!open[g].is_open(sample)) continue;
      GenerationRequest one = request;
      one.first_sample += static_cast<uint32_t>(i);
      one.samples = 1;
      one.expected_tokens = 0;
      one.begun = {sample};
      places_.push_back({g, i});
      requests_.push_back(std::move(one));
    }
  }
}

int64_t BudgetedRequests::settle(std::vector<std::vector<Sample>> samples,
                                 std::vector<OpenGroup>& open, Tickets& tickets) const {
  Tickets given = std::exchange(tickets, {});
  given.resize(samples.size());
  for (const OpenGroup& group : open) tickets.emplace_back(group.group.samples.size());
  for (OpenGroup& group : open) group.drawn = 0;
  int64_t drawn = 0;
  const auto take = [&](size_t g, Sample& to, Sample from) {
    drawn += static_cast<int64_t>(from.tokens.size() - to.tokens.size());
    // Cut off by the budget, not by a limit of its own.
    if (from.finish == FinishReason::kLength && bounds_[g] < most_tokens_[g] &&
        static_cast<int64_t>(from.tokens.size()) == bounds_[g])
      open[g].drawn = bounds_[g];
    to = std::move(from);
  };
  for (size_t r = 0; r < places_.size(); ++r) {
    const auto [g, index] = places_[r];
    OpenGroup& group = open[g];
    if (index >= 0) {
      take(g, group.group.samples[index], std::move(samples[r][0]));
      continue;
    }
    group.group.samples.resize(samples[r].size());
    for (size_t i = 0; i < samples[r].size(); ++i)
      take(g, group.group.samples[i], std::move(samples[r][i]));
    tickets[g] = std::move(given[r]);
    tickets[g].resize(samples[r].size());
  }
  return drawn;
}

// A rollout each, with the index of the problem and the open samples' tokens in its counts.
std::string pack_open_groups(const std::vector<OpenGroup>& open) {
  std::map<int64_t, Rollout> all;
  for (size_t i = 0; i < open.size(); ++i) {
    Rollout& one = all[static_cast<int64_t>(i)];
    one.groups = {open[i].group};
    one.draws = open[i].problem;
    one.sampled_tokens = open[i].drawn;
  }
  return pack_rollouts(all);
}

std::vector<OpenGroup> unpack_open_groups(const std::string& bytes, const std::string& source) {
  std::vector<OpenGroup> open;
  for (auto& [number, rollout] : unpack_rollouts(bytes, source)) {
    if (rollout.groups.size() != 1)
      fail(source + " is not what a token budget has set aside",
           "resume with the build that wrote the run");
    open.push_back({std::move(rollout.groups[0]), rollout.draws, rollout.sampled_tokens});
  }
  return open;
}

}  // namespace zeroth

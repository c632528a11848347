#include "rl/replay.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "rl/advantage.h"

using namespace zeroth;

namespace {

Group group_of(int64_t step, int index, bool signal) {
  Group group;
  group.problem.id = std::to_string(step) + "." + std::to_string(index);
  group.prompt_tokens = {1, 2};
  for (int i = 0; i < 2; ++i) {
    Sample& sample = group.samples.emplace_back();
    sample.tokens = {3, static_cast<TokenId>(4 + i)};
    sample.logprobs = sample.entropies = {-1, -2};
    sample.reward = signal ? i : 1;
  }
  return group;
}

std::vector<Group> groups_of(int64_t step, const std::vector<bool>& signal) {
  std::vector<Group> groups;
  for (size_t i = 0; i < signal.size(); ++i)
    groups.push_back(group_of(step, static_cast<int>(i), signal[i]));
  assign_advantages(groups, {});
  return groups;
}

std::vector<std::string> ids(const std::vector<Group>& groups) {
  std::vector<std::string> out;
  for (const Group& group : groups) out.push_back(group.problem.id);
  return out;
}

}  // namespace

TEST_CASE("replay: groups without signal give their place to the newest that had one") {
  ReplayConfig config;
  config.share = 0.5;
  config.max_age = 2;
  GroupReplay replay(config);
  const auto first = groups_of(0, {true, false, true, true});
  CHECK(replay.choose(0, first).empty());
  replay.settle(0, first, {});
  CHECK(replay.size() == 3);

  const auto second = groups_of(1, {false, true, false, false});
  const Replacements chosen = replay.choose(1, second);
  CHECK(chosen == Replacements{{0, 2}, {2, 1}});  // half of four, the newest first
  CHECK(replay.choose(1, second) == chosen);      // choosing changes nothing
  Tickets tickets(4, std::vector<ActivationTicket>(2, {{1, 2, 3}, 5}));
  const auto batch = with_replay(second, chosen, replay, tickets);
  CHECK(ids(batch) == std::vector<std::string>{"0.3", "1.1", "0.2", "1.3"});
  CHECK(batch[0].samples[1].advantage == 0.5);
  CHECK(tickets[0][0].rows.empty());
  CHECK(tickets[1][0].rows.size() == 3);

  // A checkpoint between the two changes nothing either.
  GroupReplay resumed(config);
  resumed.restore(replay.state(), "test");
  for (GroupReplay* each : {&replay, &resumed}) {
    GroupReplay& r = *each;
    r.settle(1, second, chosen);  // one use each
    CHECK(r.size() == 2);
    const auto third = groups_of(2, {false, false, false, false});
    CHECK(ids({r.group(0), r.group(1)}) == std::vector<std::string>{"0.0", "1.1"});
    CHECK(r.choose(2, third) == Replacements{{0, 1}, {1, 0}});
    r.settle(2, third, {});
    CHECK(r.size() == 1);  // 0.0 would be three steps old
    CHECK(r.choose(3, third) == Replacements{{0, 0}});
  }
  CHECK(replay.state() == resumed.state());
  CHECK_THROWS_AS(resumed.restore("nonsense", "test"), Error);
}

TEST_CASE("replay: off keeps nothing") {
  GroupReplay replay({});
  replay.settle(0, groups_of(0, {true}), {});
  CHECK(replay.size() == 0);
}

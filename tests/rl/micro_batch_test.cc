#include "rl/micro_batch.h"

#include <doctest/doctest.h>

#include <map>
#include <numeric>
#include <utility>

#include "core/rng.h"

using namespace zeroth;

namespace {

Group random_group(Rng& rng) {
  Group group;
  const size_t prompt = 1 + rng.below(30);
  for (size_t i = 0; i < prompt; ++i)
    group.prompt_tokens.push_back(static_cast<TokenId>(rng.below(100)));
  const size_t samples = rng.below(7);
  for (size_t i = 0; i < samples; ++i) {
    Sample sample;
    const size_t length = rng.below(40);  // 0 happens: aborted before the first token
    for (size_t t = 0; t < length; ++t)
      sample.tokens.push_back(static_cast<TokenId>(rng.below(100)));
    sample.masked = rng.chance(0.2);
    group.samples.push_back(sample);
  }
  return group;
}

}  // namespace

TEST_CASE("every sample with a loss is in exactly one leaf, leaves and calls keep their bounds") {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed, 0);
    std::vector<Group> groups;
    for (int i = 0; i < 12; ++i) groups.push_back(random_group(rng));
    std::vector<int32_t> order(groups.size());
    std::iota(order.begin(), order.end(), 0);
    const int64_t leaf = 20 + rng.below(80), bound = 20 + rng.below(150);
    const auto leaves = plan_leaves(groups, order, leaf);
    std::map<std::pair<int, int>, int> seen;
    for (const GroupSlice& slice : leaves) {
      REQUIRE(!slice.samples.empty());
      for (const int32_t sample : slice.samples) ++seen[{slice.group, sample}];
      MicroBatch batch;
      batch.build(groups, {slice}, 1.0);
      if (slice.samples.size() > 1) CHECK(batch.packed().rows() <= leaf);
    }
    for (int g = 0; g < static_cast<int>(groups.size()); ++g) {
      for (int i = 0; i < static_cast<int>(groups[g].samples.size()); ++i)
        CHECK(seen[{g, i}] == (has_loss(groups[g].samples[i]) ? 1 : 0));
    }
    size_t next = 0;
    for (const SliceList& call : plan_calls(groups, leaves, bound)) {
      REQUIRE(!call.empty());
      for (const GroupSlice& slice : call) CHECK(slice.samples == leaves[next++].samples);
      MicroBatch batch;
      batch.build(groups, call, 1.0);
      if (call.size() > 1) CHECK(batch.packed().rows() <= bound);
    }
    CHECK(next == leaves.size());
  }
}

TEST_CASE("a group that fits is one leaf") {
  std::vector<Group> groups(5);
  for (Group& group : groups) {
    group.prompt_tokens.assign(10, 1);
    group.samples.resize(4);
    for (Sample& sample : group.samples) sample.tokens.assign(10, 2);
  }
  const std::vector<int32_t> order = {4, 0, 1, 2, 3};
  // 9 shared prompt rows + 4 x 10 rows = 49 a group.
  const auto leaves = plan_leaves(groups, order, 49);
  REQUIRE(leaves.size() == 5);
  CHECK(leaves[0].group == 4);
  for (const GroupSlice& leaf : leaves) CHECK(leaf.samples.size() == 4);
  CHECK(plan_leaves(groups, order, 48).size() == 10);
  const auto calls = plan_calls(groups, leaves, 100);
  REQUIRE(calls.size() == 3);
  CHECK(calls[0].size() == 2);
  CHECK(calls[2].size() == 1);
}

TEST_CASE("response rows predict the sampled tokens in order, with their kept sets") {
  Group group;
  group.prompt_tokens = {5, 6, 7};
  group.samples.resize(2);
  group.samples[0].tokens = {1, 2};
  group.samples[1].tokens = {3};
  group.samples[1].kept_ids = {3, 9};
  group.samples[1].kept_offsets = {0, 2};
  MicroBatch batch;
  const std::vector<Group> groups = {group};
  batch.build(groups, {{0, {0, 1}}}, 0.7);
  CHECK(batch.targets().target == std::vector<int32_t>{1, 2, 3});
  CHECK(batch.packed().rows() == 2 + 2 + 1);
  REQUIRE(batch.packed().response_rows().size() == 1);
  CHECK(batch.packed().response_rows()[0].row == 2);
  const ForwardBatch view = batch.packed().view();
  const std::vector<TokenId> tokens(view.tokens.begin() + 2, view.tokens.end());
  CHECK(tokens == std::vector<TokenId>{7, 1, 7});
  REQUIRE(batch.targets().kept.size() == 3);
  CHECK(batch.targets().kept[0].empty());
  CHECK(std::vector<int32_t>(batch.targets().kept[2].begin(), batch.targets().kept[2].end()) ==
        std::vector<int32_t>{3, 9});
  CHECK(batch.targets().temperature == std::vector<float>(3, 0.7f));
}

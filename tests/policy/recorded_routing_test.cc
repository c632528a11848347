// Routing replay: what was recorded takes the place of what routers choose, and nothing else changes.
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "policy/scoring.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

struct Routed {
  std::vector<float> hidden;
  std::vector<uint16_t> experts;  // [rows, moe layers, top_k], ascending
  RoutingChange change;
};

// Through the policy, by `experts` (empty: as its routers choose).
Routed forward(const Policy& policy, const PackedBatch& batch, std::span<const uint16_t> experts,
               bool replay = true) {
  const PolicyConfig& c = policy.config();
  const int64_t k = c.router.top_k, ids = c.moe_layers() * k, row = ids + c.moe_layers();
  KvCache cache(c, batch.pages());
  Routed out;
  out.hidden.resize(batch.rows() * c.width);
  std::vector<uint8_t> routing(batch.rows() * row);
  RouterStats stats;
  ForwardBatch view = batch.view();
  view.recorded = {experts, replay};
  policy.weights()->forward(view, cache, out.hidden.data(),
                            {.stats = &stats, .routing = routing.data()});
  for (int64_t r = 0; r < batch.rows(); ++r) {
    for (int64_t at = r * row; at < r * row + ids; at += k) {
      std::sort(routing.begin() + at, routing.begin() + at + k);
      out.experts.insert(out.experts.end(), routing.begin() + at, routing.begin() + at + k);
    }
  }
  out.change = stats.change;
  return out;
}

PackedBatch packed(const PolicyConfig& c, int groups) {
  Rng rng(8, 0);
  const auto tokens = [&](int n) {
    std::vector<TokenId> out(n);
    for (TokenId& t : out) t = static_cast<TokenId>(rng.below(c.vocab_size));
    return out;
  };
  PackedBatch batch;
  for (int g = 0; g < groups; ++g) {
    const auto prompt = tokens(11 + g), a = tokens(5), b = tokens(9);
    batch.begin_part();
    batch.add_group(prompt, std::vector<std::span<const TokenId>>{a, b});
  }
  batch.finish();
  return batch;
}

}  // namespace

TEST_CASE("routing that was recorded of these weights changes no bit, and counts no change") {
  for (const NamedModel& model : all_models()) {
    const PolicyConfig& c = model.policy->config();
    if (!c.is_moe()) continue;
    CAPTURE(model.name);
    const PackedBatch batch = packed(c, 3);
    const Routed own = forward(*model.policy, batch, {});
    CHECK(own.change == RoutingChange{});
    for (const bool replay : {false, true}) {
      const Routed again = forward(*model.policy, batch, own.experts, replay);
      CHECK(same_bits(again.hidden, own.hidden));
      CHECK(again.experts == own.experts);
      CHECK(again.change == RoutingChange{batch.rows() * c.moe_layers(), 0, batch.rows(), 0});
    }
  }
}

TEST_CASE("other weights' routing is followed where it is known, and compared otherwise") {
  const auto policy = Policy::load(fixture("qwen3_moe"));
  const PolicyConfig& c = policy->config();
  const PackedBatch batch = packed(c, 3);
  const std::vector<uint16_t> then = forward(*policy, batch, {}).experts;
  for (const ParameterInfo& info : policy->parameters().infos()) {
    if (info.role != Role::kRouter) continue;
    Rng rng(2, static_cast<uint32_t>(info.offset));
    for (float& w : policy->parameters().view(info)) w += static_cast<float>(0.1 * rng.normal());
  }
  policy->publish(1);
  const Routed now = forward(*policy, batch, {});
  REQUIRE(now.experts != then);
  const Routed compared = forward(*policy, batch, then, false);
  CHECK(same_bits(compared.hidden, now.hidden));
  CHECK(compared.experts == now.experts);
  const Routed replayed = forward(*policy, batch, then);
  CHECK(!same_bits(replayed.hidden, now.hidden));
  CHECK(replayed.experts == then);
  // Compared: both go the way of now, so the differences are those of the lists.
  const int64_t k = c.router.top_k, layers = c.moe_layers();
  RoutingChange expected;
  for (int64_t row = 0; row < batch.rows(); ++row) {
    int64_t changed = 0;
    for (int64_t at = row * layers * k; at < (row + 1) * layers * k; at += k)
      changed += !std::equal(then.begin() + at, then.begin() + at + k, now.experts.begin() + at);
    expected += {layers, changed, 1, changed > 0};
  }
  CHECK(compared.change == expected);
  CHECK(compared.change.changed_choices > 0);
  CHECK(replayed.change.choices == expected.choices);
  CHECK(replayed.change.changed_choices > 0);
  // Of half the rows nothing is known.
  std::vector<uint16_t> half = then;
  for (int64_t row = 0; row < batch.rows(); row += 2)
    std::fill_n(half.begin() + row * layers * k, layers * k, RecordedRouting::kNone);
  const Routed mixed = forward(*policy, batch, half);
  CHECK(mixed.change.rows == batch.rows() / 2);
  CHECK(mixed.change.choices == batch.rows() / 2 * layers);
  for (int64_t row = 1; row < batch.rows(); row += 2)
    CHECK(std::equal(then.begin() + row * layers * k, then.begin() + (row + 1) * layers * k,
                     mixed.experts.begin() + row * layers * k));
}

TEST_CASE("what is packed beside a row changes nothing about its replay") {
  const auto policy = Policy::load(fixture("deepseek_v3"));
  const PolicyConfig& c = policy->config();
  const PackedBatch all = packed(c, 3), first = packed(c, 1);
  std::vector<uint16_t> experts = forward(*policy, all, {}).experts;
  const int64_t ids = c.moe_layers() * c.router.top_k;
  for (int64_t at = 0; at < static_cast<int64_t>(experts.size()); at += c.router.top_k) {
    for (int i = 0; i < c.router.top_k; ++i)
      experts[at + i] = static_cast<uint16_t>(c.router.experts - c.router.top_k + i);
  }
  const Routed together = forward(*policy, all, experts);
  const Routed alone = forward(*policy, first, std::span(experts).first(first.rows() * ids));
  CHECK(same_bits(alone.hidden, std::span(together.hidden).first(first.rows() * c.width)));
}

TEST_CASE("recorded experts that are none are refused before any work") {
  const auto policy = Policy::load(fixture("qwen3_moe"));
  const PolicyConfig& c = policy->config();
  const PackedBatch batch = packed(c, 1);
  const std::vector<uint16_t> good = forward(*policy, batch, {}).experts;
  const auto refused = [&](const std::vector<uint16_t>& experts, const char* what) {
    CHECK_THROWS_WITH_AS(forward(*policy, batch, experts), doctest::Contains(what), Error);
  };
  auto bad = good;
  bad.pop_back();
  refused(bad, "recorded experts for");
  bad = good;
  bad[c.router.top_k - 1] = static_cast<uint16_t>(c.router.experts);
  refused(bad, "row 0");
  bad = good;
  bad[1] = bad[0];
  refused(bad, "do not ascend");
  bad = good;
  bad[1] = RecordedRouting::kNone;
  refused(bad, "do not ascend");
  const auto dense = Policy::load(fixture("llama"));
  const PackedBatch of_dense = packed(dense->config(), 1);
  CHECK_THROWS_WITH_AS(forward(*dense, of_dense, good), doctest::Contains("recorded experts"),
                       Error);
}

// Which states a cache keeps, and that it does not matter.
#include "policy/delta_plan.h"

#include <numeric>

#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::vector<TokenId> tokens_of(const PolicyConfig& c, int n) {
  Rng rng(3, 0);
  std::vector<TokenId> out(n);
  for (TokenId& t : out) t = static_cast<TokenId>(rng.below(c.vocab_size));
  return out;
}

}  // namespace

TEST_CASE("the state not used for longest gives way, and those of a call do not") {
  StateTable table(8, 2);
  table.begin_call();
  const int32_t first = table.take(5), second = table.take(3);
  CHECK(first >= 0);
  CHECK(second >= 0);
  CHECK(first != second);
  CHECK(table.take(4) == -1);
  table.begin_call();
  CHECK(table.find(5) == first);
  CHECK(table.take(4) == second);
  CHECK(table.peek(3) == -1);
  CHECK(table.take(6) == -1);
  table.forget(5);
  CHECK(table.peek(5) == -1);
  CHECK(table.take(6) == first);
  table.clear();
  CHECK(table.peek(6) == -1);
  CHECK(table.peek(4) == -1);
}

TEST_CASE("a page that is written loses its state, and a run begins from the nearest kept one") {
  StateTable table(6, 4);
  table.begin_call();
  const int32_t first = table.take(2);
  table.take(5);
  const std::vector<TokenId> tokens = {1};
  const std::vector<int32_t> positions = {40}, sequence = {0}, pages = {2, 3, 5}, begin = {0, 3};
  const std::vector<kernels::KvWrite> writes = {{0, 5 * 16 + 8}};
  const ForwardBatch batch{tokens, positions, sequence, pages, begin, writes};
  DeltaPlan plan(batch, 4);
  plan.claim(batch, false, table);
  CHECK(table.peek(5) == -1);
  REQUIRE(plan.runs.size() == 1);
  CHECK(plan.runs[0].base == first);
  CHECK(plan.runs[0].base_pages == 1);
  CHECK(plan.runs[0].keep == -1);
  CHECK(plan.past == std::vector<int64_t>{-2 - (5 * 16 + 5), -2 - (5 * 16 + 6), -2 - (5 * 16 + 7)});
}

TEST_CASE("decoding gives the same bits whichever states are lost on the way") {
  for (const NamedModel& model : all_models()) {
    const PolicyConfig& c = model.policy->config();
    if (c.recurrent_layers() == 0) continue;
    CAPTURE(model.name);
    const auto tokens = tokens_of(c, 70);
    const std::vector<float> whole = hidden_of(*model.policy, tokens);
    const std::vector<int32_t> table = {4, 0, 3, 1, 2}, page_begin = {0, 5};
    for (const int lost : {1, 7, 33}) {
      CAPTURE(lost);
      KvCache cache(c, 5);
      std::vector<float> hidden(tokens.size() * c.width);
      for (int p = 0; p < 70; ++p) {
        if (p % lost == 0) cache.state_table().clear();
        const std::vector<int32_t> position = {p}, sequence = {0};
        const std::vector<kernels::KvWrite> writes = {{0, int64_t{table[p / 16]} * 16 + p % 16}};
        model.policy->forward(
            {std::span(tokens).subspan(p, 1), position, sequence, table, page_begin, writes}, cache,
            hidden.data() + int64_t{p} * c.width);
      }
      CHECK(same_bits(hidden, whole));
    }
  }
}

TEST_CASE("tokens that did not come true are written over") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_next"));
  const PolicyConfig& c = policy->config();
  const auto tokens = tokens_of(c, 40);
  const std::vector<float> whole = hidden_of(*policy, tokens);
  const std::vector<int32_t> table = {2, 0, 1}, page_begin = {0, 3};
  KvCache cache(c, 3);
  const auto run = [&](int begin, std::vector<TokenId> some) {
    std::vector<int32_t> positions(some.size()), sequence(some.size(), 0);
    std::vector<kernels::KvWrite> writes;
    for (size_t i = 0; i < some.size(); ++i) {
      const int p = begin + static_cast<int>(i);
      positions[i] = p;
      writes.push_back({static_cast<int32_t>(i), int64_t{table[p / 16]} * 16 + p % 16});
    }
    std::vector<float> hidden(some.size() * c.width);
    policy->forward({some, positions, sequence, table, page_begin, writes}, cache, hidden.data());
    return hidden;
  };
  run(0, {tokens.begin(), tokens.begin() + 30});
  // A draft over the end of a page, of which one token stands.
  std::vector<TokenId> draft(tokens.begin() + 30, tokens.begin() + 36);
  for (size_t i = 1; i < draft.size(); ++i) draft[i] = (draft[i] + 1) % c.vocab_size;
  run(30, draft);
  const std::vector<float> rest = run(31, {tokens.begin() + 31, tokens.end()});
  CHECK(same_bits(rest, rows(whole, c.width, 31, 9)));
}

TEST_CASE("rows that gated delta nets cannot take are refused") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_next"));
  const PolicyConfig& c = policy->config();
  KvCache cache(c, 4);
  const std::vector<TokenId> tokens(4, 1);
  const std::vector<int32_t> table = {0, 1, 2, 3}, page_begin = {0, 2, 4};
  std::vector<float> hidden(4 * c.width);
  const auto run = [&](const std::vector<int32_t>& positions,
                       const std::vector<int32_t>& sequence) {
    std::vector<kernels::KvWrite> writes;
    for (int32_t i = 0; i < 4; ++i) writes.push_back({i, int64_t{sequence[i]} * 32 + positions[i]});
    return error_of([&] {
      policy->forward({tokens, positions, sequence, table, page_begin, writes}, cache,
                      hidden.data());
    });
  };
  CHECK(run({0, 1, 0, 1}, {0, 0, 1, 1}).empty());
  CHECK(contains(run({0, 2, 0, 1}, {0, 0, 1, 1}), "position 2 of sequence 0 behind 0"));
  CHECK(contains(run({0, 0, 1, 1}, {0, 1, 0, 1}), "stand apart"));
}

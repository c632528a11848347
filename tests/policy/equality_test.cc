// The promise of the project: a row's hidden state is a function of its own tokens and the weights,
// bit for bit.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "core/parallel.h"
#include "policy/decoder.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::vector<TokenId> random_tokens(const PolicyConfig& c, int n, uint32_t stream) {
  Rng rng(21, stream);
  std::vector<TokenId> out(n);
  for (TokenId& t : out) t = static_cast<TokenId>(rng.below(c.vocab_size));
  return out;
}

// Runs one sequence in chunks that end at `ends`, over pages in the order of `pages`.
std::vector<float> chunked(const Policy& policy, const std::vector<TokenId>& tokens,
                           const std::vector<int>& ends, const std::vector<int32_t>& pages) {
  const PolicyConfig& c = policy.config();
  KvCache cache(c, *std::max_element(pages.begin(), pages.end()) + 1);
  const std::vector<int32_t> page_begin = {0, static_cast<int32_t>(pages.size())};
  std::vector<float> hidden(tokens.size() * c.width);
  int begin = 0;
  for (const int end : ends) {
    std::vector<int32_t> positions, sequence(end - begin, 0);
    std::vector<kernels::KvWrite> writes;
    for (int p = begin; p < end; ++p) {
      writes.push_back({p - begin, int64_t{pages[p / 16]} * 16 + p % 16});
      positions.push_back(p);
    }
    const std::span<const TokenId> chunk = std::span(tokens).subspan(begin, end - begin);
    policy.forward({chunk, positions, sequence, pages, page_begin, writes}, cache,
                   hidden.data() + int64_t{begin} * c.width);
    begin = end;
  }
  return hidden;
}

std::vector<int32_t> pages_for(size_t tokens) {
  std::vector<int32_t> pages(tokens / 16 + 1);
  std::iota(pages.begin(), pages.end(), 0);
  return pages;
}

}  // namespace

TEST_CASE("decoding token by token equals one forward over the whole sequence") {
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const auto tokens = random_tokens(model.policy->config(), 67, 1);
    std::vector<int> ends(tokens.size());
    std::iota(ends.begin(), ends.end(), 1);
    CHECK(same_bits(chunked(*model.policy, tokens, ends, pages_for(tokens.size())),
                    hidden_of(*model.policy, tokens)));
  }
}

TEST_CASE("prefill may be cut anywhere") {
  for (const NamedModel& model : all_models()) {
    const std::unique_ptr<Policy>& policy = model.policy;
    CAPTURE(model.name);
    const auto tokens = random_tokens(policy->config(), 37, 2);
    const auto whole = hidden_of(*policy, tokens);
    for (int cut = 1; cut < 37; ++cut) {
      CAPTURE(cut);
      CHECK(same_bits(chunked(*policy, tokens, {cut, 37}, pages_for(37)), whole));
    }
  }
}

TEST_CASE("pages may lie anywhere") {
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const auto tokens = random_tokens(model.policy->config(), 60, 3);
    CHECK(same_bits(chunked(*model.policy, tokens, {60}, {5, 2, 7, 0}),
                    hidden_of(*model.policy, tokens)));
  }
}

TEST_CASE("a packed group equals its sequences on their own") {
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const Policy& policy = *model.policy;
    const int64_t width = policy.config().width;
    for (const int prompt_length : {1, 16, 23}) {
      const auto prompt = random_tokens(policy.config(), prompt_length, 4);
      std::vector<std::vector<TokenId>> children;
      for (const int n : {1, 9, 30, 16}) {
        children.push_back(random_tokens(policy.config(), n, 100 + n));
      }
      const auto other = random_tokens(policy.config(), 50, 5);
      PackedBatch batch;
      const int alone = batch.add(other);
      const int first = batch.add_group(
          prompt, std::vector<std::span<const TokenId>>(children.begin(), children.end()));
      batch.finish();
      const std::vector<float> hidden = hidden_of(policy, batch);
      const auto segment = [&](int s) {
        return rows(hidden, width, batch.segment(s).row, batch.segment(s).rows);
      };
      CHECK(same_bits(segment(alone), hidden_of(policy, other)));
      CHECK(same_bits(segment(first - 1), hidden_of(policy, prompt)));
      for (size_t i = 0; i < children.size(); ++i) {
        std::vector<TokenId> whole = prompt;
        whole.insert(whole.end(), children[i].begin(), children[i].end());
        const std::vector<float> expected = hidden_of(policy, whole);
        CHECK(same_bits(segment(first + static_cast<int>(i)),
                        rows(expected, width, prompt_length, children[i].size())));
      }
    }
  }
}

TEST_CASE("batches of 1 to 65 decoding rows at mixed positions") {
  const int threads = num_threads();
  set_num_threads(2);
  for (const NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const std::unique_ptr<Policy>& policy = model.policy;
    const PolicyConfig& c = policy->config();
    constexpr int kAll = 65;
    std::vector<std::vector<TokenId>> tokens;
    std::vector<std::vector<float>> expected;
    for (int i = 0; i < kAll; ++i) {
      tokens.push_back(random_tokens(c, 1 + (i * 37) % 61, 200 + i));
      const std::vector<float> all = hidden_of(*policy, tokens.back());
      expected.emplace_back(all.end() - c.width, all.end());
    }
    // Sequence i owns pages 4i .. 4i + 3; everything but its last token is in the cache.
    KvCache cache(c, 4 * kAll);
    std::vector<int32_t> table(4 * kAll), page_begin(kAll + 1);
    std::iota(table.begin(), table.end(), 0);
    for (int i = 0; i <= kAll; ++i) page_begin[i] = 4 * i;
    const auto forward = [&](const std::vector<int>& sequences, bool last) {
      std::vector<TokenId> ids;
      std::vector<int32_t> positions, sequence;
      std::vector<kernels::KvWrite> writes;
      for (const int s : sequences) {
        const int n = static_cast<int>(tokens[s].size());
        for (int p = last ? n - 1 : 0; p < (last ? n : n - 1); ++p) {
          writes.push_back({static_cast<int32_t>(ids.size()), int64_t{64} * s + p});
          ids.push_back(tokens[s][p]);
          positions.push_back(p);
          sequence.push_back(s);
        }
      }
      std::vector<float> hidden(ids.size() * c.width);
      policy->forward({ids, positions, sequence, table, page_begin, writes}, cache, hidden.data());
      return hidden;
    };
    std::vector<int> order(kAll);
    std::iota(order.begin(), order.end(), 0);
    forward(order, false);
    Rng rng(9, 0);
    for (int n = 1; n <= kAll; ++n) {
      CAPTURE(n);
      for (int i = kAll - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
      const std::vector<int> chosen(order.begin(), order.begin() + n);
      const std::vector<float> hidden = forward(chosen, true);
      for (int i = 0; i < n; ++i) {
        CHECK(same_bits(rows(hidden, c.width, i, 1), expected[chosen[i]]));
      }
    }
  }
  set_num_threads(threads);
}

TEST_CASE("rows that may see what another row writes are not cut apart") {
  const int threads = num_threads();
  set_num_threads(2);
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_moe"));
  // 64 sequences of two pages: one that all share, full, and their own, where they write.
  constexpr int kRows = 64, kPages = kRows + 2;
  std::vector<TokenId> ids(kRows, 1);
  std::vector<int32_t> positions(kRows, 20), sequence(kRows), table, page_begin = {0};
  std::vector<kernels::KvWrite> writes;
  for (int i = 0; i < kRows; ++i) {
    sequence[i] = i;
    table.insert(table.end(), {kRows, i});
    page_begin.push_back(static_cast<int32_t>(table.size()));
    writes.push_back({i, int64_t{16} * i + 4});
  }
  const auto slices = [&] {
    return slices_of(policy->operators(), policy->config(),
                     {ids, positions, sequence, table, page_begin, writes}, kPages);
  };
  CHECK(slices() == 2);
  const auto unless = [&](auto& values, size_t i, auto other) {
    std::swap(values[i], other);
    CHECK(slices() == 1);
    std::swap(values[i], other);
  };
  unless(table, 2 * 9 + 1, 40);                        // sequence 9 reads where row 40 writes
  unless(sequence, 9, 40);                             // two rows of sequence 40
  unless(writes, 9, kernels::KvWrite{8, 16 * 9 + 4});  // not one write for each row
  writes.push_back({9, 16 * (kRows + 1)});
  CHECK(slices() == 1);
  writes.pop_back();
  set_num_threads(1);
  CHECK(slices() == 1);
  set_num_threads(5);  // too few rows for each
  CHECK(slices() == 1);
  set_num_threads(2);
  CHECK(slices_of(policy->operators(), Policy::load(fixture("deepseek_v3"))->config(),
                  {ids, positions, sequence, table, page_begin, writes}, kPages) == 1);
  set_num_threads(threads);
}

TEST_CASE("threads and instruction sets do not change a bit") {
  const int threads = num_threads();
  const std::string isa = kernels::isa();
  for (NamedModel& model : all_models()) {
    CAPTURE(model.name);
    const auto tokens = random_tokens(model.policy->config(), 70, 6);
    const std::vector<float> expected = hidden_of(*model.policy, tokens);
    for (const int n : {1, 2, 4}) {
      set_num_threads(n);
      CHECK(same_bits(hidden_of(*model.policy, tokens), expected));
    }
    set_num_threads(threads);
    for (const std::string& other : kernels::supported_isas()) {
      kernels::set_isa(other);
      model.policy->publish(0);  // packing may depend on the instruction set
      CHECK(same_bits(hidden_of(*model.policy, tokens), expected));
    }
    kernels::set_isa(isa);
  }
}

TEST_CASE("equality survives optimizer steps, saving and loading") {
  for (const char* family : {"qwen3_moe", "deepseek_v3", "qwen2_moe"}) {
    CAPTURE(family);
    const std::unique_ptr<Policy> policy = Policy::load(fixture(family));
    const PolicyConfig& c = policy->config();
    const auto tokens = random_tokens(c, 40, 7);
    PackedBatch batch;
    batch.add(tokens);
    batch.finish();
    const std::span<float> values = policy->parameters().values();
    std::vector<float> m(values.size()), v(values.size());
    const std::vector<float> before = hidden_of(*policy, tokens);
    for (int step = 1; step <= 3; ++step) {
      Activations saved;
      KvCache cache(c, batch.pages());
      std::vector<float> hidden(batch.rows() * c.width), grads(values.size());
      policy->forward(batch.view(), cache, hidden.data(), &saved);
      policy->backward(batch.view(), cache, saved, hidden.data(), grads);
      kernels::AdamWStep adamw;
      adamw.lr = 1e-3f;
      adamw.step = step;
      kernels::adamw(values.data(), grads.data(), m.data(), v.data(), values.size(), adamw);
      // Until they are published, new weights change nothing.
      CHECK(same_bits(hidden_of(*policy, tokens), step == 1 ? before : hidden));
      policy->publish(step);
    }
    CHECK(policy->weights()->version() == 3);
    const std::vector<float> whole = hidden_of(*policy, tokens);
    CHECK_FALSE(same_bits(whole, before));
    std::vector<int> ends(tokens.size());
    std::iota(ends.begin(), ends.end(), 1);
    CHECK(same_bits(chunked(*policy, tokens, ends, pages_for(40)), whole));
    const TempDir dir;
    policy->save(dir.path());
    CHECK(same_bits(hidden_of(*Policy::load(dir.path()), tokens), whole));
  }
}

TEST_CASE("routed experts, router confidence and loads") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("deepseek_v2"));
  const PolicyConfig& c = policy->config();
  const auto tokens = random_tokens(c, 30, 8);
  PackedBatch batch;
  batch.add(tokens);
  batch.finish();
  KvCache cache(c, batch.pages());
  std::vector<float> hidden(batch.rows() * c.width);
  std::vector<uint8_t> routing(30 * c.moe_layers() * (c.router.top_k + 1));
  RouterStats stats;
  Activations saved(Activations::Mode::kFull);
  policy->weights()->forward(batch.view(), cache, hidden.data(),
                             {.save = &saved, .stats = &stats, .routing = routing.data()});
  REQUIRE(stats.load.size() == 2);
  std::vector<std::vector<int64_t>> counted(2, std::vector<int64_t>(8));
  for (int i = 0; i < 30; ++i) {
    for (int l = 0; l < 2; ++l) {
      const uint8_t* ids = routing.data() + i * 6 + l * 2;
      const float* scores = saved.impl().layers[l + 1].scores.data().address() + i * 8;
      CHECK(scores[ids[0]] > scores[ids[1]]);
      CHECK(std::abs(routing[i * 6 + 4 + l] - 255.0 * scores[ids[0]]) <= 0.501);
      ++counted[l][ids[0]];
      ++counted[l][ids[1]];
    }
  }
  CHECK(stats.load == counted);
}

TEST_CASE("batches that would leave the model or the cache are refused") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_moe"));
  const PolicyConfig& c = policy->config();
  KvCache cache(c, 1);
  std::vector<float> hidden(c.width);
  const auto run = [&](TokenId token, int32_t position, int32_t sequence, int32_t page,
                       kernels::KvWrite write) {
    const std::vector<TokenId> tokens = {token};
    const std::vector<int32_t> positions = {position}, sequences = {sequence}, table = {page},
                               page_begin = {0, 1};
    const std::vector<kernels::KvWrite> writes = {write};
    return error_of([&] {
      policy->forward({tokens, positions, sequences, table, page_begin, writes}, cache,
                      hidden.data());
    });
  };
  CHECK(run(5, 0, 0, 0, {0, 0}).empty());
  CHECK(contains(run(128, 0, 0, 0, {0, 0}), "vocabulary"));
  CHECK(contains(run(-1, 0, 0, 0, {0, 0}), "vocabulary"));
  CHECK(contains(run(5, 512, 0, 0, {0, 0}), "context"));
  CHECK(contains(run(5, 16, 0, 0, {0, 0}), "no page"));
  CHECK(contains(run(5, 0, 1, 0, {0, 0}), "sequence"));
  CHECK(contains(run(5, 0, 0, 1, {0, 0}), "page 1"));
  CHECK(contains(run(5, 0, 0, 0, {0, 16}), "slot"));
  CHECK(contains(run(5, 0, 0, 0, {1, 0}), "write of row"));
}

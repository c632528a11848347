#include "policy/packing.h"

#include <doctest/doctest.h>

#include <set>

using namespace zeroth;

namespace {

std::vector<TokenId> count_from(TokenId first, int n) {
  std::vector<TokenId> out(n);
  for (int i = 0; i < n; ++i) out[i] = first + i;
  return out;
}

// The token at every position of a sequence, read through the page table from the slots that were
// written.
std::vector<TokenId> content(const ForwardBatch& batch, int sequence, int length) {
  std::vector<TokenId> out;
  for (int p = 0; p < length; ++p) {
    const int64_t page = batch.page_table[batch.page_begin[sequence] + p / 16];
    TokenId found = -1;
    for (const kernels::KvWrite& write : batch.writes) {
      if (write.slot != page * 16 + p % 16) continue;
      CHECK(found == -1);  // no slot is written twice
      found = batch.tokens[write.row];
      CHECK(batch.positions[write.row] == p);
    }
    out.push_back(found);
  }
  return out;
}

}  // namespace

TEST_CASE("children see the prompt and their own tokens") {
  for (const int prompt_length : {0, 1, 15, 16, 17, 40}) {
    CAPTURE(prompt_length);
    const std::vector<TokenId> prompt = count_from(100, prompt_length);
    const std::vector<TokenId> a = count_from(200, 5), b = count_from(300, 33), none;
    PackedBatch batch;
    const int alone = batch.add(count_from(1, 20));
    const int first = batch.add_group(prompt, std::vector<std::span<const TokenId>>{a, none, b});
    batch.finish();
    const ForwardBatch view = batch.view();
    CHECK(batch.rows() == 20 + prompt_length + 5 + 33);
    REQUIRE(batch.response_rows().size() == 1);
    CHECK(batch.response_rows()[0].row == prompt_length);
    CHECK(batch.response_rows()[0].rows == batch.responses());
    CHECK(batch.segment(alone).row == prompt_length);
    CHECK(batch.segment(first - 1).row == 0);
    CHECK(batch.segment(first).rows == 5);
    CHECK(batch.segment(first + 1).rows == 0);
    CHECK(content(view, alone, 20) == count_from(1, 20));
    CHECK(content(view, first - 1, prompt_length) == prompt);
    std::vector<TokenId> whole = prompt;
    whole.insert(whole.end(), a.begin(), a.end());
    CHECK(content(view, first, prompt_length + 5) == whole);
    whole = prompt;
    whole.insert(whole.end(), b.begin(), b.end());
    CHECK(content(view, first + 2, prompt_length + 33) == whole);
    for (int64_t row = 0; row < batch.rows(); ++row) CHECK(view.tokens[row] > 0);
  }
}

TEST_CASE("full pages of a prompt are shared, every row is written, a cleared batch starts anew") {
  PackedBatch batch;
  const std::vector<TokenId> prompt = count_from(0, 40), child = count_from(50, 3);
  for (int round = 0; round < 2; ++round) {
    batch.clear();
    const std::vector<std::span<const TokenId>> children(4, child);
    batch.add_group(prompt, children);
    batch.finish();
    CHECK(batch.pages() == 3 + 4);
    std::set<int32_t> written;
    for (const kernels::KvWrite& write : batch.view().writes) written.insert(write.row);
    CHECK(written.size() == 52);
    CHECK(batch.view().writes.size() == 52 + 4 * 8);
  }
}

TEST_CASE("parts lie one behind the other, each with its prompts first") {
  const std::vector<TokenId> prompt = count_from(10, 4), a = count_from(30, 2),
                             b = count_from(50, 3);
  const std::vector<TokenId> alone = count_from(70, 5);
  PackedBatch batch;
  batch.begin_part();  // nothing was added: still the first
  batch.add_group(prompt, std::vector<std::span<const TokenId>>{a, b});
  batch.begin_part();
  batch.add(alone);
  const int last = batch.add_group(prompt, std::vector<std::span<const TokenId>>{b});
  batch.finish();
  const ForwardBatch view = batch.view();
  CHECK(std::vector<int64_t>(view.parts.begin(), view.parts.end()) == std::vector<int64_t>{0, 9});
  REQUIRE(batch.response_rows().size() == 2);
  CHECK(batch.response_rows()[0].row == 4);
  CHECK(batch.response_rows()[0].rows == 5);
  CHECK(batch.response_rows()[1].row == 9 + 4);
  CHECK(batch.response_rows()[1].rows == 8);
  CHECK(batch.response_parts()[1] == 5);
  CHECK(batch.responses() == 13);
  CHECK(batch.segment(last).row == 9 + 4 + 5);
  const std::vector<TokenId> tokens(view.tokens.begin(), view.tokens.end());
  const std::vector<TokenId> expected = {10, 11, 12, 13, 30, 31, 50, 51, 52, 10, 11,
                                         12, 13, 70, 71, 72, 73, 74, 50, 51, 52};
  CHECK(tokens == expected);
  std::vector<TokenId> whole = prompt;
  whole.insert(whole.end(), b.begin(), b.end());
  CHECK(content(view, last, 7) == whole);
}

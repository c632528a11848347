#include "policy/packing.h"

#include "core/error.h"

namespace zeroth {
namespace {

constexpr int64_t kPage = kernels::kPageTokens;

}  // namespace

void PackedBatch::clear() {
  tokens_in_.clear();
  entries_.clear();
  segments_.clear();
  tokens_.clear();
  positions_.clear();
  sequence_.clear();
  page_table_.clear();
  page_begin_.clear();
  writes_.clear();
  parts_.clear();
  response_parts_.clear();
  response_rows_.clear();
  part_ = 0;
  responses_ = pages_ = 0;
}

void PackedBatch::begin_part() {
  if (!entries_.empty() && entries_.back().part == part_) ++part_;
}

int PackedBatch::append(std::span<const TokenId> tokens, bool prompt, int parent) {
  entries_.push_back({prompt, parent, part_, static_cast<int64_t>(tokens_in_.size()),
                      static_cast<int64_t>(tokens.size())});
  tokens_in_.insert(tokens_in_.end(), tokens.begin(), tokens.end());
  segments_.push_back({0, static_cast<int64_t>(tokens.size())});
  if (!prompt) responses_ += static_cast<int64_t>(tokens.size());
  return static_cast<int>(entries_.size()) - 1;
}

int PackedBatch::add(std::span<const TokenId> tokens) { return append(tokens, false, -1); }

int PackedBatch::add_group(std::span<const TokenId> prompt,
                           std::span<const std::span<const TokenId>> children) {
  const int parent = append(prompt, true, -1);
  for (const std::span<const TokenId> child : children) append(child, false, parent);
  return parent + 1;
}

// Pages of a sequence: the parent's full pages, then new ones. Rows of the parent that lie on its
// partial page are written into the child's first new page too.
void PackedBatch::lay_pages(int sequence) {
  const Entry& entry = entries_[sequence];
  int64_t before = 0;
  if (entry.parent >= 0) {
    before = entries_[entry.parent].length;
    const int32_t* shared = page_table_.data() + page_begin_[entry.parent];
    const std::vector<int32_t> full(shared, shared + before / kPage);
    page_table_.insert(page_table_.end(), full.begin(), full.end());
  }
  const int64_t shared_tokens = before / kPage * kPage;
  const int64_t end = before + entry.length;
  // A child without rows of its own attends to nothing and needs no copy of the partial page.
  const int64_t first_page = pages_;
  if (entry.length > 0) {
    for (int64_t at = shared_tokens; at < end; at += kPage) {
      page_table_.push_back(static_cast<int32_t>(pages_++));
    }
  }
  page_begin_.push_back(static_cast<int32_t>(page_table_.size()));
  const int64_t first_slot = first_page * kPage - shared_tokens;
  const auto write = [&](int64_t row, int64_t position) {
    writes_.push_back({static_cast<int32_t>(row), first_slot + position});
  };
  if (entry.length == 0) return;
  for (int64_t p = shared_tokens; p < before; ++p) write(segments_[entry.parent].row + p, p);
  for (int64_t i = 0; i < entry.length; ++i) write(segments_[sequence].row + i, before + i);
}

// Part by part: prompts, then the others.
void PackedBatch::lay_rows() {
  parts_.clear();
  response_parts_.clear();
  response_rows_.clear();
  int64_t next = 0, responses = 0;
  const int n = sequences();
  for (int first = 0, end = 0; first < n; first = end) {
    while (end < n && entries_[end].part == entries_[first].part) ++end;
    parts_.push_back(next);
    response_parts_.push_back(responses);
    for (const bool prompt : {true, false}) {
      const int64_t begin = next;
      for (int s = first; s < end; ++s) {
        if (entries_[s].prompt != prompt) continue;
        segments_[s].row = next;
        next += entries_[s].length;
      }
      if (prompt) continue;
      response_rows_.push_back({begin, next - begin});
      responses += next - begin;
    }
  }
}

void PackedBatch::finish() {
  const int64_t m = rows();
  if (m > INT32_MAX) fail("a packed batch of " + std::to_string(m) + " rows", "pack fewer tokens");
  tokens_.resize(m);
  positions_.resize(m);
  sequence_.resize(m);
  page_table_.clear();
  page_begin_.assign(1, 0);
  writes_.clear();
  pages_ = 0;
  lay_rows();
  for (int s = 0; s < sequences(); ++s) {
    const Entry& entry = entries_[s];
    const int64_t before = entry.parent >= 0 ? entries_[entry.parent].length : 0;
    for (int64_t i = 0, row = segments_[s].row; i < entry.length; ++i, ++row) {
      tokens_[row] = tokens_in_[entry.begin + i];
      positions_[row] = static_cast<int32_t>(before + i);
      sequence_[row] = s;
    }
    lay_pages(s);
  }
}

ForwardBatch PackedBatch::view() const {
  return {tokens_, positions_, sequence_, page_table_, page_begin_, writes_, parts_};
}

}  // namespace zeroth

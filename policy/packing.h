// Lays whole sequences out as one ForwardBatch for training and scoring: pages, page table, cache
// writes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/forward.h"

namespace zeroth {

// A group is one prompt and its children: the prompt's rows are computed once, its full pages are
// shared, and its partial last page is repeated in front of every child by extra cache writes. Rows
// of all prompts come first, then those of all children and single sequences, so that hidden rows
// which are scored form one block from first_response_row() on. Results of a row do not depend on
// the packing, bit for bit.
//
// To score a completion c of prompt p, pass p without its last token as the prompt and {last of p,
// c without its last} as the child: then every child row predicts one token of c.
//
// Use: add..., finish(), view(). Reusable after clear(). Not thread safe.
class PackedBatch {
 public:
  struct Segment {
    int64_t row = 0;  // first row, after finish()
    int64_t rows = 0;
  };

  void clear();
  // A sequence of its own, at positions 0 ...; returns its index.
  int add(std::span<const TokenId> tokens);
  // Returns the index of the first child; the others follow. The prompt (index one less) may be
  // empty.
  int add_group(std::span<const TokenId> prompt,
                std::span<const std::span<const TokenId>> children);
  void finish();

  // Valid until the next change. Needs a cache of at least pages() pages; what it held there before
  // is overwritten.
  ForwardBatch view() const;
  Segment segment(int sequence) const { return segments_[sequence]; }
  int sequences() const { return static_cast<int>(segments_.size()); }
  int64_t rows() const { return prompt_rows_ + response_rows_; }
  int64_t first_response_row() const { return prompt_rows_; }
  int64_t pages() const { return pages_; }

 private:
  struct Entry {
    bool prompt = false;
    int parent = -1;                // sequence whose pages come first
    int64_t begin = 0, length = 0;  // in tokens_in_
  };
  int append(std::span<const TokenId> tokens, bool prompt, int parent);
  void lay_pages(int sequence);

  std::vector<TokenId> tokens_in_;
  std::vector<Entry> entries_;
  std::vector<Segment> segments_;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_, sequence_, page_table_, page_begin_;
  std::vector<kernels::KvWrite> writes_;
  int64_t prompt_rows_ = 0, response_rows_ = 0, pages_ = 0;
};

}  // namespace zeroth

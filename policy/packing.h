// Lays whole sequences out as one ForwardBatch for training and scoring: pages, page table, cache
// writes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/forward.h"

namespace zeroth {

// A group is one prompt and its children: the prompt's rows are computed once, its full pages are
// shared, and its partial last page is repeated in front of every child by extra cache writes.
// Results of a row do not depend on the packing, bit for bit.
//
// Sequences stand in parts (kernels/parts.h): what a part adds to a gradient does not depend on the
// parts packed beside it. The rows of a part lie together: first those of its prompts, then those
// of its children and single sequences, which are the ones that are scored (responses).
//
// To score a completion c of prompt p, pass p without its last token as the prompt and {last of p,
// c without its last} as the child: then every child row predicts one token of c.
//
// Use: (begin_part(), add...)..., finish(), view(). Reusable after clear(). Not thread safe.
class PackedBatch {
 public:
  struct Segment {
    int64_t row = 0;  // first row, after finish()
    int64_t rows = 0;
  };

  void clear();
  // What is added from now on is a new part; what was added before the first call is one, too.
  void begin_part();
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
  int64_t rows() const { return static_cast<int64_t>(tokens_in_.size()); }
  int64_t responses() const { return responses_; }
  // [parts] the rows that are scored, in order. Their part begins at this response.
  std::span<const Segment> response_rows() const { return response_rows_; }
  std::span<const int64_t> response_parts() const { return response_parts_; }
  int64_t pages() const { return pages_; }

 private:
  struct Entry {
    bool prompt = false;
    int parent = -1;  // sequence whose pages come first
    int part = 0;
    int64_t begin = 0, length = 0;  // in tokens_in_
  };
  int append(std::span<const TokenId> tokens, bool prompt, int parent);
  void lay_rows();
  void lay_pages(int sequence);

  std::vector<TokenId> tokens_in_;
  std::vector<Entry> entries_;
  std::vector<Segment> segments_;
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_, sequence_, page_table_, page_begin_;
  std::vector<kernels::KvWrite> writes_;
  std::vector<int64_t> parts_, response_parts_;  // [parts] first row, first response
  std::vector<Segment> response_rows_;           // [parts]
  int part_ = 0;
  int64_t responses_ = 0, pages_ = 0;
};

}  // namespace zeroth

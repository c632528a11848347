// Which of the flat parameters each member of a team updates and keeps moments of (ZeRO, stage 1;
// arXiv 1910.02054).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/norm_chunk.h"

namespace zeroth {

// Floats [begin, end) of the flat parameters.
struct FloatRange {
  int64_t begin = 0, end = 0;
};

// A run of trainable parameters that are treated alike.
struct ParameterBlock {
  int64_t begin = 0, end = 0;
  bool decay = false;
};

// Blocks cut into the chunks over which the norm of the gradient is added (kernels::sum_squares),
// so that every member can add its own. Immutable.
class Shards {
 public:
  explicit Shards(const std::vector<ParameterBlock>& blocks) {
    for (size_t b = 0; b < blocks.size(); ++b) {
      for (int64_t at = blocks[b].begin; at < blocks[b].end; at += kernels::kNormChunk) {
        const int64_t end = std::min(at + kernels::kNormChunk, blocks[b].end);
        chunks_.push_back({{at, end}, b});
      }
    }
  }

  struct Chunk {
    FloatRange range;
    size_t block = 0;  // its number
  };
  const std::vector<Chunk>& chunks() const { return chunks_; }
  // Member `rank` of `size` has the chunks from this one up to the next member's first.
  size_t first_chunk(int rank, int size) const { return chunks_.size() * rank / size; }
  // Its floats: as few ranges as there can be, ascending; none when there are fewer chunks than
  // members.
  std::vector<FloatRange> of(int rank, int size) const {
    std::vector<FloatRange> ranges;
    for (size_t c = first_chunk(rank, size); c < first_chunk(rank + 1, size); ++c) {
      const FloatRange range = chunks_[c].range;
      if (!ranges.empty() && ranges.back().end == range.begin) {
        ranges.back().end = range.end;
      } else {
        ranges.push_back(range);
      }
    }
    return ranges;
  }

 private:
  std::vector<Chunk> chunks_;
};

}  // namespace zeroth

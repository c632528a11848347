// Which of the flat parameters each member of a team updates and keeps moments of (ZeRO, stage 1;
// arXiv 1910.02054).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/float_ranges.h"

namespace zeroth {

// A run of trainable parameters that are treated alike.
struct ParameterBlock {
  int64_t begin = 0, end = 0;
  bool decay = false;
};

// Neighbouring chunks that are dealt among all members: the gradient of a band can be sent while
// lower bands are still being differentiated, and all members receive at the same time.
struct Band {
  FloatRange range;
  std::vector<FloatRanges> of;  // by member: its part, without what only one member has
};

// Blocks cut into the chunks over which the norm of the gradient is added (kernels::sum_squares),
// so that every member can add its own. Immutable.
class Shards {
 public:
  // `experts`: floats that one member has, by rank (policy/expert_exchange.h); it updates these, and
  // a chunk of such floats alone is its own. Everything else is dealt evenly, band by band.
  explicit Shards(const std::vector<ParameterBlock>& blocks, std::vector<FloatRanges> experts = {});
  // A member's part of a band has so many floats, or a little less.
  static constexpr int64_t kDealt = int64_t{1} << 18;

  struct Chunk {
    FloatRange range;
    size_t block = 0;  // its number
  };
  const std::vector<Chunk>& chunks() const { return chunks_; }
  // The numbers of the chunks that member `rank` of `size` adds, ascending.
  std::vector<size_t> chunks_of(int rank, int size) const;
  // The floats that it updates; none when there are fewer chunks than members.
  FloatRanges of(int rank, int size) const;
  // The floats whose gradient it needs: those, and all of its chunks.
  FloatRanges needed(int rank, int size) const;

  // Ascending; they hold all that members share, and are those of all members.
  std::vector<Band> bands(int size) const;

  // The floats that only one member has, by rank; empty: everybody has all.
  const std::vector<FloatRanges>& experts() const { return experts_; }
  // Ranges without them.
  FloatRanges shared(const FloatRanges& ranges) const { return without(ranges, all_experts_); }

 private:
  // The bands as numbers in dealt_: where each begins, and the end. Whose chunk each of dealt_ is.
  struct Deal {
    std::vector<size_t> begins;
    std::vector<int> owner;
  };
  Deal deal(int size) const;

  std::vector<Chunk> chunks_;
  std::vector<FloatRanges> experts_;
  FloatRanges blocks_, all_experts_;
  std::vector<int> home_;      // by chunk: the member that has all of its floats, or -1
  std::vector<size_t> dealt_;  // the chunks of no one member
};

}  // namespace zeroth

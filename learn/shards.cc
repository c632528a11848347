#include "learn/shards.h"

#include <algorithm>
#include <utility>

#include "kernels/norm_chunk.h"

namespace zeroth {

Shards::Shards(const std::vector<ParameterBlock>& blocks, std::vector<FloatRanges> experts)
    : experts_(std::move(experts)) {
  std::vector<FloatRange> all;
  for (size_t b = 0; b < blocks.size(); ++b) {
    all.push_back({blocks[b].begin, blocks[b].end});
    for (int64_t at = blocks[b].begin; at < blocks[b].end; at += kernels::kNormChunk)
      chunks_.push_back({{at, std::min(at + kernels::kNormChunk, blocks[b].end)}, b});
  }
  blocks_ = united(std::move(all));
  all.clear();
  home_.assign(chunks_.size(), -1);
  for (size_t r = 0; r < experts_.size(); ++r) {
    const FloatRanges& own = experts_[r];
    all.insert(all.end(), own.begin(), own.end());
    auto next = own.begin();
    for (size_t c = 0; c < chunks_.size(); ++c) {
      const FloatRange range = chunks_[c].range;
      while (next != own.end() && next->end < range.end) ++next;
      if (next != own.end() && next->begin <= range.begin) home_[c] = static_cast<int>(r);
    }
  }
  all_experts_ = united(std::move(all));
  for (size_t c = 0; c < chunks_.size(); ++c) {
    if (home_[c] < 0) dealt_.push_back(c);
  }
}

std::vector<size_t> Shards::chunks_of(int rank, int size) const {
  const size_t first = dealt_.size() * rank / size, last = dealt_.size() * (rank + 1) / size;
  std::vector<size_t> out(dealt_.begin() + static_cast<std::ptrdiff_t>(first),
                          dealt_.begin() + static_cast<std::ptrdiff_t>(last));
  for (size_t c = 0; c < home_.size(); ++c) {
    if (home_[c] == rank) out.push_back(c);
  }
  std::sort(out.begin(), out.end());
  return out;
}

FloatRanges Shards::needed(int rank, int size) const {
  std::vector<FloatRange> ranges;
  for (const size_t c : chunks_of(rank, size)) ranges.push_back(chunks_[c].range);
  if (!experts_.empty()) {
    const FloatRanges own = common(blocks_, experts_[rank]);
    ranges.insert(ranges.end(), own.begin(), own.end());
  }
  return united(std::move(ranges));
}

FloatRanges Shards::of(int rank, int size) const {
  const FloatRanges ranges = needed(rank, size);
  if (experts_.empty()) return ranges;
  FloatRanges own = shared(ranges);
  const FloatRanges experts = common(ranges, experts_[rank]);
  own.insert(own.end(), experts.begin(), experts.end());
  return united(std::move(own));
}

}  // namespace zeroth

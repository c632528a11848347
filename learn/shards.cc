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

// A band ends where it has kDealt floats a member, or nearly: the even parts are whole chunks then.
// In it the member of a chunk is the one whose even part of the floats holds the chunk's middle.
Shards::Deal Shards::deal(int size) const {
  Deal deal;
  deal.owner.resize(dealt_.size());
  for (size_t first = 0, last = 0; first < dealt_.size(); first = last) {
    deal.begins.push_back(first);
    int64_t floats = 0;
    const auto length = [&](size_t i) {
      const FloatRange range = chunks_[dealt_[i]].range;
      return range.end - range.begin;
    };
    constexpr int64_t kHalf = kernels::kNormChunk / 2;
    while (last < dealt_.size() && floats + kHalf < kDealt * size) floats += length(last++);
    int64_t before = 0;
    for (size_t i = first; i < last; ++i) {
      deal.owner[i] = static_cast<int>((2 * before + length(i)) * size / (2 * floats));
      before += length(i);
    }
  }
  deal.begins.push_back(dealt_.size());
  return deal;
}

std::vector<Band> Shards::bands(int size) const {
  const Deal deal = this->deal(size);
  std::vector<Band> bands;
  for (size_t b = 0; b + 1 < deal.begins.size(); ++b) {
    const size_t first = deal.begins[b], last = deal.begins[b + 1];
    std::vector<std::vector<FloatRange>> parts(size);
    for (size_t i = first; i < last; ++i) parts[deal.owner[i]].push_back(chunks_[dealt_[i]].range);
    Band& band = bands.emplace_back();
    band.range = {chunks_[dealt_[first]].range.begin, chunks_[dealt_[last - 1]].range.end};
    for (auto& part : parts) band.of.push_back(shared(united(std::move(part))));
  }
  return bands;
}

std::vector<size_t> Shards::chunks_of(int rank, int size) const {
  const Deal deal = this->deal(size);
  std::vector<size_t> out;
  for (size_t i = 0; i < dealt_.size(); ++i) {
    if (deal.owner[i] == rank) out.push_back(dealt_[i]);
  }
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

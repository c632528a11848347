#include "kernels/cuda/block_cache.h"

#include <algorithm>
#include <compare>
#include <cstdlib>
#include <iterator>

namespace zeroth::kernels::cuda {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kStep = 512;        // sizes of blocks
constexpr size_t kMostSmall = kMiB;  // requests up to this are small
constexpr size_t kSmallSegment = 2 * kMiB;
constexpr size_t kLargeSegment = 20 * kMiB;  // for large requests of up to half of it
constexpr size_t kLargeStep = 2 * kMiB;      // of the segments beyond

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

size_t segment_bytes(size_t bytes) {
  if (bytes <= kMostSmall) return kSmallSegment;
  if (bytes <= kLargeSegment / 2) return kLargeSegment;
  return round_up(bytes, kLargeStep);
}

}  // namespace

BlockCache::~BlockCache() { trim(); }

void* BlockCache::take(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  bytes = round_up(std::max(bytes, size_t{1}), kStep);
  const bool small = bytes <= kMostSmall;
  const auto found = free_blocks_.lower_bound({small, bytes, nullptr});
  Blocks::iterator block;
  if (found != free_blocks_.end() && found->small == small) {
    block = blocks_.find(found->at);
    free_blocks_.erase(found);
    block->second.free = false;
  } else {
    block = take_segment(bytes, small);
    if (block == blocks_.end()) return nullptr;
  }
  split(block, bytes);
  bytes_in_use_ += block->second.bytes;
  return block->first;
}

BlockCache::Blocks::iterator BlockCache::take_segment(size_t bytes, bool small) {
  // Where memory is short, no more than is asked for.
  for (const size_t size : {segment_bytes(bytes), bytes}) {
    void* memory = source_.take(size);
    if (!memory) {
      trim();
      memory = source_.take(size);
    }
    if (!memory) continue;
    bytes_held_ += size;
    char* const at = static_cast<char*>(memory);
    return blocks_.emplace(at, Block{size, at, small, false}).first;
  }
  return blocks_.end();
}

// The rest of a block that is longer than it has to be becomes a free one. Of a large block a small
// rest stays: nobody would ask for it.
void BlockCache::split(Blocks::iterator block, size_t bytes) {
  Block& whole = block->second;
  const size_t rest = whole.bytes - bytes;
  if (rest < (whole.small ? kStep : kMostSmall)) return;
  whole.bytes = bytes;
  const auto next =
      blocks_.emplace(block->first + bytes, Block{rest, whole.segment, whole.small, true}).first;
  free_blocks_.insert(key(next));
}

void BlockCache::give(void* memory) {
  auto block = blocks_.find(static_cast<char*>(memory));
  if (block == blocks_.end() || block->second.free) std::abort();  // not ours, or given twice
  bytes_in_use_ -= block->second.bytes;
  block->second.free = true;
  const auto next = std::next(block);
  if (next != blocks_.end() && next->second.free && next->second.segment == block->second.segment) {
    free_blocks_.erase(key(next));
    block = join(block, next);
  }
  if (block->first != block->second.segment) {
    const auto before = std::prev(block);
    if (before->second.free) {
      free_blocks_.erase(key(before));
      block = join(before, block);
    }
  }
  free_blocks_.insert(key(block));
}

BlockCache::Blocks::iterator BlockCache::join(Blocks::iterator left, Blocks::iterator right) {
  left->second.bytes += right->second.bytes;
  blocks_.erase(right);
  return left;
}

void BlockCache::trim() {
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    const auto next = std::next(it);
    const bool whole = it->second.free && it->first == it->second.segment &&
                       (next == blocks_.end() || next->second.segment != it->second.segment);
    if (whole) {
      free_blocks_.erase(key(it));
      bytes_held_ -= it->second.bytes;
      source_.give(it->first);
      blocks_.erase(it);
    }
    it = next;
  }
}

}  // namespace zeroth::kernels::cuda

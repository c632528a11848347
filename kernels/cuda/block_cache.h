// A cache of memory blocks: asking a GPU's driver for memory takes long and waits for all work.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

namespace zeroth::kernels::cuda {

// Cuts blocks from segments that it takes from a source, joins blocks that were given back with
// free neighbours, and returns segments only when the source has nothing left. Blocks begin at
// multiples of 512 bytes. Whoever gives a block back may still have work queued on it, as long as
// whoever takes it next queues its own behind that. Not thread safe.
class BlockCache {
 public:
  class Source {
   public:
    virtual ~Source() = default;
    // Null when there is no more. At a multiple of 512 bytes.
    virtual void* take(size_t bytes) = 0;
    virtual void give(void* segment) = 0;
  };
  // The source outlives it.
  explicit BlockCache(Source& source) : source_(source) {}
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // At least so many bytes; null when neither the cache nor the source has them.
  void* take(size_t bytes);
  // `block` came from take() and was not given back since.
  void give(void* block);
  // Segments of which no part is in use go back to the source.
  void trim();

  size_t blocks_in_use() const { return blocks_.size() - free_blocks_.size(); }
  size_t bytes_in_use() const { return bytes_in_use_; }
  size_t bytes_held() const { return bytes_held_; }

 private:
  struct Block {
    size_t bytes = 0;
    char* segment = nullptr;  // where that begins
    bool small = false, free = false;
  };
  using Blocks = std::map<char*, Block>;
  // Free blocks, of small requests and of large ones: these do not share segments, so that a small
  // array that stays does not cut a large block in two.
  struct ByBytes {
    bool small;
    size_t bytes;
    char* at;
    auto operator<=>(const ByBytes&) const = default;
  };

  Blocks::iterator take_segment(size_t bytes, bool small);
  void split(Blocks::iterator block, size_t bytes);
  Blocks::iterator join(Blocks::iterator left, Blocks::iterator right);
  ByBytes key(Blocks::const_iterator block) const {
    return {block->second.small, block->second.bytes, block->first};
  }

  Source& source_;
  Blocks blocks_;  // all of all segments
  std::set<ByBytes> free_blocks_;
  size_t bytes_in_use_ = 0, bytes_held_ = 0;
};

}  // namespace zeroth::kernels::cuda

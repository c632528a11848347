// The cache of a device's memory blocks, over a source that counts.
#include "kernels/cuda/block_cache.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

#include "core/rng.h"

namespace zeroth::kernels::cuda {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// Addresses that nothing lies behind.
class Counted final : public BlockCache::Source {
 public:
  explicit Counted(size_t limit) : left(limit) {}
  void* take(size_t bytes) override {
    if (bytes > left) return nullptr;
    left -= bytes;
    ++taken;
    char* const at = reinterpret_cast<char*>(next_);
    next_ += bytes;  // segments touch: blocks of two must not join all the same
    segments[at] = bytes;
    return at;
  }
  void give(void* segment) override {
    const auto it = segments.find(static_cast<char*>(segment));
    REQUIRE(it != segments.end());
    left += it->second;
    segments.erase(it);
  }
  size_t left;
  int taken = 0;
  std::map<char*, size_t> segments;

 private:
  uintptr_t next_ = 4096;
};

TEST_CASE("blocks come from few segments, are joined, and serve again") {
  Counted source(100 * kMiB);
  BlockCache cache(source);
  std::vector<void*> blocks;
  for (int i = 0; i < 2048; ++i) blocks.push_back(cache.take(1000));
  CHECK(source.taken == 1);
  CHECK(cache.bytes_in_use() == 2 * kMiB);
  for (int i = 0; i < 2048; i += 2) cache.give(blocks[i]);
  for (int i = 1; i < 2048; i += 2) cache.give(blocks[i]);
  CHECK(cache.blocks_in_use() == 0);
  void* const whole = cache.take(kMiB);  // small, and only there when neighbours were joined
  CHECK(whole == blocks[0]);
  CHECK(source.taken == 1);
  void* const large = cache.take(15 * kMiB);
  CHECK(source.taken == 2);
  cache.give(large);
  CHECK(cache.take(14 * kMiB) == large);
  CHECK(cache.bytes_held() == (2 + 16) * kMiB);
  CHECK(cache.take(0) != nullptr);
}

TEST_CASE("a source that is empty gets unused segments back, and is asked for less") {
  Counted source(30 * kMiB);
  BlockCache cache(source);
  void* const first = cache.take(12 * kMiB);
  cache.give(first);
  CHECK(cache.bytes_held() == 12 * kMiB);
  void* const second = cache.take(29 * kMiB);  // in steps of 2 MiB: 30
  REQUIRE(second);
  CHECK(cache.bytes_held() == 30 * kMiB);
  CHECK(cache.take(1) == nullptr);
  cache.give(second);
  void* const third = cache.take(28 * kMiB + 1);
  REQUIRE(third);
  cache.give(third);
  cache.trim();
  CHECK(cache.bytes_held() == 0);
  CHECK(cache.take(29 * kMiB + 600 * 1024) != nullptr);
  CHECK(cache.take(SIZE_MAX) == nullptr);
}

TEST_CASE("blocks in use never overlap, and all of it comes back") {
  Counted source(600 * kMiB);
  {
    BlockCache cache(source);
    Rng rng(5, 0);
    std::map<char*, size_t> used;
    for (int i = 0; i < 20'000; ++i) {
      if (used.size() > 60 || (!used.empty() && rng.below(2) == 0)) {
        auto it = used.begin();
        std::advance(it, rng.below(static_cast<uint32_t>(used.size())));
        cache.give(it->first);
        used.erase(it);
        continue;
      }
      const size_t bytes = (size_t{1} << rng.below(24)) + rng.below(100);
      char* const at = static_cast<char*>(cache.take(bytes));
      REQUIRE(at);
      CHECK(reinterpret_cast<uintptr_t>(at) % 512 == 0);
      const auto next = used.lower_bound(at);
      if (next != used.end()) CHECK(at + bytes <= next->first);
      if (next != used.begin()) {
        const auto before = std::prev(next);
        CHECK(before->first + before->second <= at);
      }
      used[at] = bytes;
    }
    for (const auto& [at, bytes] : used) cache.give(at);
    CHECK(cache.bytes_in_use() == 0);
  }
  CHECK(source.segments.empty());
}

}  // namespace
}  // namespace zeroth::kernels::cuda

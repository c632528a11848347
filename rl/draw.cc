#include "rl/draw.h"

#include <bit>

#include "core/rng.h"

namespace zeroth {
namespace {

uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

// Keeps these random blocks apart from the ones that sampling draws with the same seed.
constexpr uint32_t kDomain = 0x64726177;

}  // namespace

int64_t permuted(uint64_t seed, uint64_t epoch, int64_t place, int64_t size) {
  if (size <= 1) return 0;
  const int bits = std::bit_width(static_cast<uint64_t>(size - 1));
  const int half = (bits + 1) / 2;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  auto x = static_cast<uint64_t>(place);
  do {
    uint64_t left = x >> half, right = x & mask;
    for (uint32_t round = 0; round < 4; ++round) {
      const auto block = philox4x32({low(seed), high(seed)},
                                    {low(right), low(epoch), high(epoch), kDomain + round});
      const uint64_t next = left ^ (block[0] & mask);
      left = right;
      right = next;
    }
    x = (left << half) | right;
  } while (x >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(x);
}

}  // namespace zeroth

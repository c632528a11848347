// A row's many small numbers, most of them zero, in a few bytes: what keeps the trace index small.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace zeroth {

// A mask of the numbers that are not 0, then those numbers, all as LEB128 varints. At most 64
// numbers. Put those that are seldom 0 first: the mask then has one byte.
std::string pack_counts(std::span<const uint64_t> counts);

// The number at `index`, 0 when it was 0, when `packed` ends early, or index is not in 0..63.
uint64_t packed_count(std::string_view packed, int64_t index);

}  // namespace zeroth

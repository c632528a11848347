// Sets of floats of the flat parameters (model/parameters.h).
#pragma once

#include <cstdint>
#include <vector>

namespace zeroth {

// Floats [begin, end).
struct FloatRange {
  int64_t begin = 0, end = 0;
  bool operator==(const FloatRange&) const = default;
};
// Ascending; none is empty, and no two touch.
using FloatRanges = std::vector<FloatRange>;

// Ranges in any order, which may overlap, as a set.
FloatRanges united(std::vector<FloatRange> ranges);
// What is in both; what is in the first alone.
FloatRanges common(const FloatRanges& a, const FloatRanges& b);
FloatRanges without(const FloatRanges& a, const FloatRanges& b);
int64_t floats_in(const FloatRanges& ranges);

}  // namespace zeroth

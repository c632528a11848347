#include "model/float_ranges.h"

#include <algorithm>

namespace zeroth {

FloatRanges united(std::vector<FloatRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const FloatRange& a, const FloatRange& b) { return a.begin < b.begin; });
  FloatRanges out;
  for (const FloatRange& range : ranges) {
    if (range.begin >= range.end) continue;
    if (!out.empty() && range.begin <= out.back().end) {
      out.back().end = std::max(out.back().end, range.end);
    } else {
      out.push_back(range);
    }
  }
  return out;
}

FloatRanges common(const FloatRanges& a, const FloatRanges& b) {
  FloatRanges out;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const int64_t begin = std::max(a[i].begin, b[j].begin), end = std::min(a[i].end, b[j].end);
    if (begin < end) out.push_back({begin, end});
    ++(a[i].end < b[j].end ? i : j);
  }
  return out;
}

FloatRanges without(const FloatRanges& a, const FloatRanges& b) {
  FloatRanges out;
  size_t j = 0;
  for (const FloatRange& range : a) {
    int64_t at = range.begin;
    while (j < b.size() && b[j].end <= at) ++j;
    for (size_t k = j; k < b.size() && b[k].begin < range.end; ++k) {
      if (at < b[k].begin) out.push_back({at, b[k].begin});
      at = std::max(at, b[k].end);
    }
    if (at < range.end) out.push_back({at, range.end});
  }
  return out;
}

int64_t floats_in(const FloatRanges& ranges) {
  int64_t n = 0;
  for (const FloatRange& range : ranges) n += range.end - range.begin;
  return n;
}

}  // namespace zeroth

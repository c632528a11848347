// Sums over rows, part by part.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace zeroth::kernels {

// First rows of parts, ascending from 0 (equal ones: empty parts); none: all rows are one part. A
// gradient that is a sum over rows adds up every part as if it were alone, and takes the parts in
// order: what a part adds does not depend on the parts beside it.
using RowParts = std::span<const int64_t>;

// Rows [begin, end) that are added up before they are rounded into a gradient.
struct RowChunk {
  int64_t begin, end;
};

// Appends the chunks of rows [begin, end): at most `limit` rows each, counted from where a part
// begins, none of two parts.
void cut_chunks(int64_t begin, int64_t end, RowParts parts, int64_t limit,
                std::vector<RowChunk>& chunks);

}  // namespace zeroth::kernels

// Groups of rows whose sizes only the device knows, cut into pieces of at most `size` rows. Every
// group g has the numbers from at[g] / size + g on for its pieces, which is at least as many as it
// needs, so a grid can be launched for all of them without asking.
#pragma once

#include "kernels/cuda/portable.h"
#include "kernels/cuda/products.h"

namespace zeroth::kernels::cuda {

// Rows [begin, end) of a group; none: begin == end.
struct Slot {
  int64_t group, begin, end;
};

// Numbers that all pieces together can have.
inline int64_t slots_of(const RowBounds& b, int64_t size) { return b.rows / size + b.count; }

ZEROTH_DEVICE Slot find_slot(const RowBounds& b, int64_t size, int64_t number) {
  int64_t low = 0, high = b.count;  // the last group whose first number is at most `number`
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (b.at[middle] / size + middle <= number) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const int64_t first = b.at[low], last = b.at[low + 1];
  const int64_t begin = first + (number - (first / size + low)) * size;
  if (begin >= last) return {low, last, last};
  return {low, begin, begin + size < last ? begin + size : last};
}

// Rows of the chunk that begins at row `at`: chunks are those that kernels/parts.h cuts of rows up
// to `end`, at most `size` rows, counted from where a part begins, none of two parts.
ZEROTH_DEVICE int chunk_rows(const RowBounds& parts, int at, int end, int size) {
  int low = 0, high = static_cast<int>(parts.count);  // the part that `at` lies in
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (parts.at[middle] <= at) {
      low = middle;
    } else {
      high = middle;
    }
  }
  if (low + 1 < parts.count && parts.at[low + 1] < end) {
    end = static_cast<int>(parts.at[low + 1]);
  }
  return end - at < size ? end - at : size;
}

}  // namespace zeroth::kernels::cuda

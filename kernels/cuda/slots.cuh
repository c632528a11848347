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

// The chunks of rows [at, end) that kernels/parts.h cuts: at most `size` rows, counted from where a
// part begins, none of two parts.
struct ChunkWalk {
  const int64_t* parts;  // ascending starts, and where the last part ends
  int part, count;       // the part that `at` lies in
  int at, end;

  ZEROTH_DEVICE ChunkWalk(const RowBounds& b, int64_t begin, int64_t last)
      : parts(b.at),
        part(0),
        count(static_cast<int>(b.count)),
        at(static_cast<int>(begin)),
        end(static_cast<int>(last)) {
    int high = count;
    while (high - part > 1) {
      const int middle = (part + high) / 2;
      if (parts[middle] <= begin) {
        part = middle;
      } else {
        high = middle;
      }
    }
  }
  ZEROTH_DEVICE bool more() const { return at < end; }
  // Rows of the chunk that begins at `at`; moves on to the next.
  ZEROTH_DEVICE int next(int size) {
    int stop = end;
    for (; part + 1 < count; ++part) {
      const int begin = static_cast<int>(parts[part + 1]);
      if (begin <= at) continue;
      if (begin < stop) stop = begin;
      break;
    }
    const int rows = stop - at < size ? stop - at : size;
    at += rows;
    return rows;
  }
};

}  // namespace zeroth::kernels::cuda

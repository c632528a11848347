// Arguments of the matrix product, for kernels/matmul.cc and every instruction set alike.
#pragma once

#include <stdint.h>

#include "kernels/cpu/inline.h"
#include "kernels/element.h"

namespace zeroth::kernels {

inline constexpr int kPanelColumns = 32;
inline constexpr int kRowTile = 12;                          // rows of a register tile (at most)
inline constexpr int64_t kLineBytes = 64, kLineFloats = 16;  // of a cache line

// Values of k in a leaf of a product's sum: a chain of its own from +0. Leaves are added in ascending
// order.
inline constexpr int64_t kLeaf = 256;

// How a product treats what is in C.
enum class Accumulate {
  kStart,     // it is overwritten
  kContinue,  // the first chain starts at C: a later part of the same leaf
  kAdd        // the leaves are added to C
};

// Memory that is fetched into the second-level cache while tiles are computed: `count` strips of
// one cache line for every k of a product, `step` bytes apart; the strips begin `strip` bytes
// apart. Addresses, because they may lie behind an array's end; nothing there is read.
struct Strips {
  uintptr_t from;
  int64_t step, strip, count;
};
// All lines of 32 columns of k rows that are `row` apart.
template <class T>
ZEROTH_INLINE Strips panel_strips(const T* rows, int64_t row) {
  constexpr int64_t kSize = sizeof(T);
  return {reinterpret_cast<uintptr_t>(rows), row * kSize, kLineBytes,
          kPanelColumns * kSize / kLineBytes};
}
// The i-th of `parts` about equal parts.
ZEROTH_INLINE Strips part_of(const Strips& all, int64_t i, int64_t parts) {
  const int64_t begin = all.count * i / parts;
  return {all.from + static_cast<uintptr_t>(begin * all.strip), all.step, all.strip,
          all.count * (i + 1) / parts - begin};
}

// Pieces of memory that are fetched block by block, kBeside blocks beside every kRowTile values of
// k of a tile; a block is kRowTile cache lines.
struct Blocks {
  static constexpr int64_t kFloats = kRowTile * kLineFloats, kBeside = 2;

  const float* const* piece;
  int64_t floats;  // of a piece
  int64_t at;      // where in *piece the next block begins
  int64_t left;    // blocks
};

// How the operands of a product are stored; there is no other way.
enum class Operands {
  kRows,          // A as [m, lda], B as float
  kColumns,       // A as [k, lda], B as float
  kRowsBfloat16,  // A as [m, lda], B as Bfloat16
};

// C [m, columns] from A [m, k] and panels of B; panel p holds columns 32 p .. 32 p + 31 as [k][32],
// zero padded.
struct GemmArgs {
  Operands operands;
  const float* a;
  int64_t lda;
  const void* b = nullptr;  // first panel
  int64_t panel = 0;        // distance between panels, in elements
  float* c;
  int64_t ldc;
  int64_t m, k, columns;
  const float* bias = nullptr;  // [columns] added last
  Accumulate accumulate = Accumulate::kStart;
  // What the core reads after this product: the panel of B that follows its last (or where that is
  // packed from), and anything else. Without them nothing is fetched ahead: B is in its caches.
  Strips next_panel = {}, later = {};
  Blocks blocks = {};  // beside the strips, as far as the product lasts
};

}  // namespace zeroth::kernels

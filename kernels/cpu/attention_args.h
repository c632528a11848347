// Arguments of attention, for kernels/attention.cc and every instruction set alike.
#pragma once

#include <stdint.h>

#include "kernels/cpu/inline.h"

namespace zeroth::kernels {

// One query tile: `vectors` query vectors (rows x heads of one kv head, or part of it) over one
// list of pages.
struct AttentionTile {
  int vectors;            // 1 .. kRowTile
  const float* const* q;  // [vectors] -> k_dim floats
  float* const* out;      // [vectors] -> v_dim floats
  float* const* lse;      // [vectors] -> one float; entries may be null
  const int32_t* first;   // [vectors] first visible position
  const int32_t* last;    // [vectors] last visible position
  const int32_t* pages;   // page ids by position / 16
  const float* k;         // K and V of this kv head in page 0
  const float* v;
  // Distance between pages; v_page 0: V has those of the tile's pages one behind the other.
  int64_t k_page, v_page;
  int k_dim, v_dim;
  float scale;
  float* scores;    // scratch [vectors][pages of the tile * 16]
  float* packed_q;  // scratch [vectors][k_dim]
  bool cold;        // the cache comes from memory: ask for the values while the keys arrive
};

// Backward of a tile against all its pages; `vectors` may be up to kBackwardVectors.
inline constexpr int kBackwardVectors = 48;
struct AttentionBackwardTile {
  int vectors;
  const float* const* q;
  const float* const* out;
  const float* const* dout;
  float* const* dq;
  const float* lse;  // [vectors]
  const int32_t* first;
  const int32_t* last;
  const int32_t* pages;  // page ids by position / 16
  const int32_t* local;  // index into the transposed copies by position / 16
  const float* k;
  const float* k_rows;     // [local][16][k_dim]
  const float* v_columns;  // [local][v_dim][16]
  float* dk;
  float* dv;
  int64_t k_page, v_page;
  int k_dim, v_dim;
  float scale;
  float* scratch;  // attention_backward_scratch(k_dim, v_dim) floats
};
ZEROTH_INLINE int64_t attention_backward_scratch(int k_dim, int v_dim) {
  const int64_t padded_k = (k_dim + 15) / 16 * 16, padded_v = (v_dim + 15) / 16 * 16;
  return kBackwardVectors * (2 * padded_k + padded_v + 2 * 16);
}

}  // namespace zeroth::kernels

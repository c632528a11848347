// What the product asks the memory for while it multiplies, so that it need not wait later.
#pragma once

#include "kernels/cpu/gemm_args.h"
#include "kernels/cpu/vec.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// What a tile asks for while it multiplies. Addresses, as in Strips.
struct Fetches {
  // Into the first-level cache, one line for every k: in the i-th block of kRowTile values of k
  // those that begin at near + i * near_block, near_k apart. 0: nothing at all.
  uintptr_t near = 0;
  int64_t near_k = 0, near_block = 0;
  // Into the second-level cache, for every k: the line at far + k * far_k, and the one that lies
  // far_line behind it. 0: none.
  uintptr_t far = 0;
  int64_t far_k = 0, far_line = 0;
  // And blocks from here, when it has as many as the tile takes.
  Blocks* blocks = nullptr;
};

// The lines of A that the tile behind this one of `rows` rows reads.
template <bool kByColumns>
ZEROTH_INLINE void fetch_rows_below(Fetches& f, const float* a, int64_t lda, int64_t rows) {
  constexpr int64_t kFloat = sizeof(float);
  const uintptr_t here = reinterpret_cast<uintptr_t>(a);
  if (kByColumns) {  // for every k the line with the last of them: the first came with this tile's
    f.near = here + static_cast<uintptr_t>((rows + kRowTile - 1) * kFloat);
    f.near_k = lda * kFloat;
    f.near_block = kRowTile * f.near_k;
  } else {  // a line of each of kRowTile rows, then the line behind it
    f.near = here + static_cast<uintptr_t>(rows * lda * kFloat);
    f.near_k = lda * kFloat;
    f.near_block = kLineBytes;
  }
}

ZEROTH_INLINE void fetch_near(uintptr_t line) {
  __builtin_prefetch(reinterpret_cast<const void*>(line));
}
ZEROTH_INLINE void fetch_far(uintptr_t line) {
  __builtin_prefetch(reinterpret_cast<const void*>(line), 0, 2);
}

// The next block of the list, which has one.
ZEROTH_INLINE uintptr_t take_block(Blocks& blocks) {
  const uintptr_t block = reinterpret_cast<uintptr_t>(*blocks.piece + blocks.at);
  blocks.at += Blocks::kFloats;
  if (blocks.at >= blocks.floats) {
    blocks.at = 0;
    ++blocks.piece;
  }
  --blocks.left;
  return block;
}

// step() for values of k beside the fetches, in blocks of kRowTile of them; returns how many are
// left.
template <bool kFar, bool kBlocks, class Step>
ZEROTH_INLINE int64_t step_and_fetch(Fetches& f, int64_t k, const Step& step) {
  uintptr_t near = f.near, far = f.far;
  for (; k >= kRowTile; k -= kRowTile, near += static_cast<uintptr_t>(f.near_block)) {
    uintptr_t line = near, block[Blocks::kBeside];
    if constexpr (kBlocks) {
      for (uintptr_t& b : block) b = take_block(*f.blocks);
    }
    // Unrolled, the fetches of the whole block would come first, all at once.
#pragma GCC unroll 1
    for (int i = 0; i < kRowTile; ++i, line += static_cast<uintptr_t>(f.near_k)) {
      fetch_near(line);
      if constexpr (kFar) {
        fetch_far(far);
        fetch_far(far + static_cast<uintptr_t>(f.far_line));
        far += static_cast<uintptr_t>(f.far_k);
      }
      if constexpr (kBlocks) {
        unrolled<Blocks::kBeside>([&](auto j) ZEROTH_INLINED {
          fetch_far(block[j] + static_cast<uintptr_t>(i * kLineBytes));
        });
      }
      step();
    }
  }
  f.near = near;
  if constexpr (kFar) f.far = far + static_cast<uintptr_t>(k * f.far_k);
  return k;
}

// step() for every k of a leaf; the fetches go on with the next one.
template <class Step>
ZEROTH_INLINE void for_each_k(Fetches& f, int64_t k, const Step& step) {
  const bool blocks = f.blocks && f.blocks->left >= k / kRowTile * Blocks::kBeside;
  if (f.far && blocks) {
    k = step_and_fetch<true, true>(f, k, step);
  } else if (f.far) {
    k = step_and_fetch<true, false>(f, k, step);
  } else if (f.near && blocks) {
    k = step_and_fetch<false, true>(f, k, step);
  } else if (f.near) {
    k = step_and_fetch<false, false>(f, k, step);
  }
  for (; k > 0; --k) step();
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// Rows of several arrays that belong together, kept one behind the other. What all operators
// promise: kernels/ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/array.h"

namespace zeroth::kernels {

// How the rows of an array lie.
enum class SavedOrder {
  kRow,      // [m, width]
  kColumn,   // [width, m]
  kChoice,   // [m * top_k, width], sorted by expert (kernels/moe.h)
  kDerived,  // from the others, by expert_sort; never saved
};

// An array whose rows are saved; `bytes` of a row, or of each of its top_k choices, a multiple of
// 4.
struct SavedArray {
  At<char> data;
  int64_t bytes = 0;
  SavedOrder order = SavedOrder::kRow;

  int64_t row_bytes(int top_k) const { return bytes * (order == SavedOrder::kChoice ? top_k : 1); }
  // Whether it is copied past the caches; such arrays come first.
  bool in_lines() const { return bytes % 64 == 0 && order != SavedOrder::kColumn; }
};
// Bytes of a saved row: all arrays, up to whole cache lines.
int64_t saved_bytes(std::span<const SavedArray> arrays, int top_k);

// Row i of every array goes to rows[i] (null: nowhere), aligned to cache lines, one array behind
// the other. `order` of choices as expert_sort gives it, empty without a kChoice.
void save_rows(std::span<const SavedArray> arrays, std::span<char* const> rows,
               std::span<const int32_t> order, int top_k);
// Back, but for arrays of choices; these once `order` is known.
void recall_rows(std::span<const SavedArray> arrays, std::span<char* const> rows, int top_k);
void recall_choices(std::span<const SavedArray> arrays, std::span<char* const> rows,
                    std::span<const int32_t> order, int top_k);

}  // namespace zeroth::kernels

// Rows of several arrays that belong together on a device: what kernels/saved_rows.h does. All
// pointers are the device's. Calls start kernels on a stream and return.
#pragma once

#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/saved_rows.h"

namespace zeroth::kernels::cuda {

// kernels/saved_rows.h's SavedArray in words of 4 bytes.
struct SavedPart {
  uint32_t* data = nullptr;
  int64_t words = 0;  // of a row, or of each of its choices
  SavedOrder order = SavedOrder::kRow;
};
// The rows [m] of a call: parts [count], at[i] where row i is kept (save_rows: or null), place of
// every choice among those sorted by expert, null without choices (kernels/cuda/experts.h).
struct SavedRows {
  const SavedPart* parts = nullptr;
  int64_t count = 0;
  uint32_t* const* at = nullptr;
  const int32_t* place = nullptr;
  int64_t m = 0;
  int top_k = 0;
};

void save_rows(Stream stream, const SavedRows& rows);
// Back, but for arrays of choices; and these.
void recall_rows(Stream stream, const SavedRows& rows);
void recall_choices(Stream stream, const SavedRows& rows);

}  // namespace zeroth::kernels::cuda

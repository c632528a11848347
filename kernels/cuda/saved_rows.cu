#include "kernels/cuda/saved_rows.h"

#include "kernels/cuda/portable.h"

namespace zeroth::kernels::cuda {
namespace {

constexpr int kRowThreads = 128;

enum class Way { kSave, kRecall, kRecallChoices };

// A block has a row: it goes over the arrays in their order, a thread a word.
__global__ void __launch_bounds__(kRowThreads) saved_rows_kernel(const SavedRows t, const Way way) {
  const int64_t row = blockIdx.x;
  uint32_t* kept = t.at[row];
  if (!kept) return;
  for (int64_t i = 0; i < t.count; ++i) {
    const SavedPart part = t.parts[i];
    const bool choices = part.order == SavedOrder::kChoice;
    const int64_t words = part.words * (choices ? t.top_k : 1);
    const bool wanted = way == Way::kSave || choices == (way == Way::kRecallChoices);
    for (int64_t w = threadIdx.x; wanted && w < words; w += kRowThreads) {
      uint32_t* from = part.data;
      if (part.order == SavedOrder::kColumn) {
        from += w * t.m + row;
      } else if (choices) {
        from += int64_t{t.place[row * t.top_k + w / part.words]} * part.words + w % part.words;
      } else {
        from += row * part.words + w;
      }
      if (way == Way::kSave) {
        kept[w] = *from;
      } else {
        *from = kept[w];
      }
    }
    kept += words;
  }
}

}  // namespace

void save_rows(Stream stream, const SavedRows& rows) {
  launch(stream, saved_rows_kernel, {rows.m}, kRowThreads, 0, rows, Way::kSave);
}
void recall_rows(Stream stream, const SavedRows& rows) {
  launch(stream, saved_rows_kernel, {rows.m}, kRowThreads, 0, rows, Way::kRecall);
}
void recall_choices(Stream stream, const SavedRows& rows) {
  launch(stream, saved_rows_kernel, {rows.m}, kRowThreads, 0, rows, Way::kRecallChoices);
}

}  // namespace zeroth::kernels::cuda

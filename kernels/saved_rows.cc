#include "kernels/saved_rows.h"

#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/stream_copy.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kRowsATask = 8;  // of a small model some 50 KB

// Asks for bytes that will be copied soon.
void fetch(const char* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i, 0, 2);
}

// The first array of choices, and where it begins in a saved row.
struct Choices {
  const SavedArray* array = nullptr;
  int64_t at = 0;
};
Choices choices_of(std::span<const SavedArray> arrays) {
  Choices out;
  for (const SavedArray& array : arrays) {
    if (array.order == SavedOrder::kChoice) {
      out.array = &array;
      break;
    }
    out.at += array.bytes;
  }
  return out;
}

}  // namespace

int64_t saved_bytes(std::span<const SavedArray> arrays, int top_k) {
  int64_t bytes = 0;
  for (const SavedArray& array : arrays) bytes += array.row_bytes(top_k);
  return (bytes + kLine - 1) / kLine * kLine;
}

void save_rows(std::span<const SavedArray> arrays, std::span<char* const> rows,
               std::span<const int32_t> order, int top_k) {
  const auto m = static_cast<int64_t>(rows.size());
  const int64_t bytes = saved_bytes(arrays, top_k);
  std::vector<int32_t> place(order.size());  // of every choice among those sorted by expert
  for (size_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<int32_t>(i);
  parallel_for(m, kRowsATask, [&](int64_t begin, int64_t end) {
    // Arrays that are not whole lines are put together in the cache first.
    char* const rest =
        reinterpret_cast<char*>(thread_scratch(Slot::kOperator, bytes / sizeof(float)));
    for (int64_t i = begin; i < end; ++i) {
      if (!rows[i]) continue;
      char* to = rows[i];
      char* const row_end = to + bytes;
      char* small = rest;
      for (const SavedArray& a : arrays) {
        const char* const data = a.data.address();
        for (int64_t j = 0; j < a.row_bytes(top_k);
             j += a.order == SavedOrder::kColumn ? 4 : a.bytes) {
          if (a.order == SavedOrder::kColumn) {
            std::memcpy(small, data + j * m + i * 4, 4);
            small += 4;
            continue;
          }
          const int64_t from = a.order == SavedOrder::kRow ? i : place[i * top_k + j / a.bytes];
          if (a.in_lines()) {
            stream_copy(to, data + from * a.bytes, a.bytes);
            to += a.bytes;
          } else {
            std::memcpy(small, data + from * a.bytes, a.bytes);
            small += a.bytes;
          }
        }
      }
      stream_copy(to, rest, row_end - to);
    }
    stream_fence();
  });
}

// What stands in the order of rows. A batch's activations are larger than the caches, so they are
// streamed too.
void recall_rows(std::span<const SavedArray> arrays, std::span<char* const> rows, int top_k) {
  const auto m = static_cast<int64_t>(rows.size());
  const int64_t before_choices = choices_of(arrays).at;
  parallel_for(m, kRowsATask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* from = rows[i];
      if (i + 1 < m) fetch(rows[i + 1], before_choices);
      for (const SavedArray& a : arrays) {
        char* const data = a.data.address();
        if (a.order == SavedOrder::kColumn) {
          for (int64_t j = 0; j < a.bytes; j += 4) std::memcpy(data + j * m + i * 4, from + j, 4);
        } else if (a.order == SavedOrder::kRow && a.in_lines()) {
          stream_copy(data + i * a.bytes, from, a.bytes);
        } else if (a.order == SavedOrder::kRow) {
          std::memcpy(data + i * a.bytes, from, a.bytes);
        }
        from += a.row_bytes(top_k);
      }
    }
    stream_fence();
  });
}

void recall_choices(std::span<const SavedArray> arrays, std::span<char* const> rows,
                    std::span<const int32_t> order, int top_k) {
  const Choices choices = choices_of(arrays);
  if (!choices.array) return;
  const SavedArray& array = *choices.array;
  const auto n = static_cast<int64_t>(order.size());
  const auto choice_at = [&](int64_t i) {
    return rows[order[i] / top_k] + choices.at + order[i] % top_k * array.bytes;
  };
  parallel_for(n, 2 * kRowsATask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const char* from = choice_at(i);
      if (i + 2 < n) fetch(choice_at(i + 2), array.bytes);
      char* to = array.data.address() + i * array.bytes;
      if (array.in_lines()) {
        stream_copy(to, from, array.bytes);
      } else {
        std::memcpy(to, from, array.bytes);
      }
    }
    stream_fence();
  });
}

}  // namespace zeroth::kernels

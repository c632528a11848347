// Operators on rows, cut over the pool by rows (or by columns where rows meet in one sum).
#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/ops.h"
#include "kernels/packed_matrix.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

// Floats that one thread passes over in a few microseconds.
constexpr int64_t kSmall = 16'384;

int64_t rows_at_least(int64_t floats_per_row) {
  return std::max<int64_t>(1, kSmall / std::max<int64_t>(1, floats_per_row));
}

float as_float(float x) { return x; }
float as_float(Bfloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

}  // namespace

void rms_norm(const float* x, int64_t ldx, const float* weight, float eps, float* y, int64_t ldy,
              float* inv_rms, int64_t m, int64_t width, int64_t heads, int64_t ldinv,
              bool plus_one) {
  const Table& isa = table();
  if (ldinv == 0) ldinv = m;
  parallel_for(m, rows_at_least(heads * width), [&](int64_t begin, int64_t end) {
    for (int64_t h = 0; h < heads; ++h) {
      isa.rms_norm(x + begin * ldx + h * width, ldx, weight, eps, y + begin * ldy + h * width, ldy,
                   inv_rms ? inv_rms + h * ldinv + begin : nullptr, end - begin, width, plus_one);
    }
  });
}

void rms_norm_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                       const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                       float* dweight, int64_t m, int64_t width, bool accumulate, int64_t heads,
                       RowParts parts, bool plus_one) {
  // The weight's gradient is summed by chunks of kReductionChunk rows, which no number of threads
  // changes; then, part by part, over heads and chunks in order.
  const Table& isa = table();
  thread_local std::vector<RowChunk> memory;
  std::vector<RowChunk>& chunks = memory;
  chunks.clear();
  cut_chunks(0, m, parts, kReductionChunk, chunks);
  const auto count = static_cast<int64_t>(chunks.size());
  float* partial = thread_scratch(Slot::kOperator, heads * count * width);
  std::fill_n(partial, heads * count * width, 0.0f);
  parallel_for(count, std::max<int64_t>(1, rows_at_least(2 * heads * width) / kReductionChunk),
               [&](int64_t begin, int64_t end) {
                 for (int64_t c = begin; c < end; ++c) {
                   const int64_t row = chunks[c].begin, rows = chunks[c].end - row;
                   for (int64_t h = 0; h < heads; ++h) {
                     const int64_t at = h * width;
                     isa.rms_norm_backward(dy + row * lddy + at, lddy, x + row * ldx + at, ldx,
                                           weight, inv_rms + h * m + row, dx + row * lddx + at,
                                           lddx, partial + (h * count + c) * width, rows, width,
                                           accumulate, plus_one);
                   }
                 }
               });
  for (int64_t first = 0, part = 0; first < count; ++part) {
    const bool last = part + 1 >= static_cast<int64_t>(parts.size());
    int64_t end = first;
    while (end < count && (last || chunks[end].begin < parts[part + 1])) ++end;
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t c = first; c < end; ++c)
        isa.add(dweight, partial + (h * count + c) * width, dweight, width);
    }
    first = end;
  }
}

void add(const float* a, const float* b, float* y, int64_t n) {
  const Table& isa = table();
  parallel_for(n, kSmall, [&](int64_t begin, int64_t end) {
    isa.add(a + begin, b + begin, y + begin, end - begin);
  });
}

void swiglu(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
            Gate function) {
  const Table& isa = table();
  parallel_for(m, rows_at_least(4 * width), [&](int64_t begin, int64_t end) {
    isa.swiglu(gu + begin * ldgu, ldgu, y + begin * ldy, ldy, end - begin, width, function);
  });
}

void swiglu_backward(const float* dy, int64_t lddy, const float* gu, int64_t ldgu, float* dgu,
                     int64_t lddgu, int64_t m, int64_t width, float* act, const RowWeights& w,
                     Gate function) {
  const Table& isa = table();
  parallel_for(m, rows_at_least(6 * width), [&](int64_t begin, int64_t end) {
    const int64_t first = w.order ? 0 : begin;
    isa.swiglu_backward({dy + begin * lddy, lddy, gu + begin * ldgu, ldgu, dgu + begin * lddgu,
                         lddgu, act ? act + begin * width : nullptr,
                         w.order ? w.order + begin : nullptr,
                         w.weights ? w.weights + first : nullptr,
                         w.dweights ? w.dweights + first : nullptr, end - begin, width, function});
  });
}

void rope(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions, const float* cos,
          const float* sin, int64_t m, int heads, int dim, bool interleaved, bool inverse) {
  const Table& isa = table();
  parallel_for(m, rows_at_least(2 * heads * dim), [&](int64_t begin, int64_t end) {
    isa.rope(x + begin * ldx, ldx, head_stride, positions + begin, cos, sin, end - begin, heads,
             dim, interleaved, inverse);
  });
}

namespace {

void packed_rows(const PackedMatrix& table, const int32_t* ids, float* out, int64_t begin,
                 int64_t end) {
  const Panels w(table);
  for (int64_t i = begin; i < end; ++i) {
    w.with_panel(ids[i] / kPanelColumns, [&, column = ids[i] % kPanelColumns](auto* panel) {
      for (int64_t k = 0; k < w.in; ++k) {
        out[i * w.in + k] = as_float(panel[k * kPanelColumns + column]);
      }
    });
  }
}

}  // namespace

void embedding(const EmbeddingTable& table, int64_t width, const int32_t* ids, float* out,
               int64_t m) {
  parallel_for(m, rows_at_least(width), [&](int64_t begin, int64_t end) {
    if (table.packed) return packed_rows(*table.packed, ids, out, begin, end);
    for (int64_t i = begin; i < end; ++i) {
      if (table.halves) {
        widen(table.halves.address() + ids[i] * width, out + i * width, width);
      } else {
        std::memcpy(out + i * width, table.floats.address() + ids[i] * width,
                    static_cast<size_t>(width) * sizeof(float));
      }
    }
  });
}

// Blocks of 32 x 32: row by row every cache line of a panel would be read once for each of its rows.
void unpack_rows(const PackedMatrix& w, int64_t first, int64_t rows, float* to) {
  const Table& isa = table();
  const Panels panels(w);
  float block[kPanelColumns * kPanelColumns];
  for (const int64_t end = first + rows; first < end;) {
    const int64_t skip = first % kPanelColumns, count = std::min(kPanelColumns - skip, end - first);
    panels.with_panel(first / kPanelColumns, [&](auto* panel) {
      for (int64_t k = 0; k < panels.in; k += kPanelColumns) {
        const int64_t columns = std::min<int64_t>(kPanelColumns, panels.in - k);
        unpack_weight(isa, panel + k * kPanelColumns, columns, block);
        for (int64_t r = 0; r < count; ++r)
          std::copy_n(block + (skip + r) * kPanelColumns, columns, to + r * panels.in + k);
      }
    });
    first += count;
    to += count * panels.in;
  }
}

void widen(const Bfloat16* x, float* y, int64_t n) { table().widen(x, y, n); }
void narrow(const float* x, Bfloat16* y, int64_t n) { table().narrow(x, y, n); }

void embedding_backward(const float* dy, const int32_t* ids, float* dtable, int64_t m,
                        int64_t width, int64_t vocab) {
  (void)vocab;
  // Rows of equal ids meet, so the cut is by columns: each thread adds its columns of all rows in
  // order.
  constexpr int64_t kColumns = 16;
  const Table& isa = kernels::table();
  const int64_t blocks = (width + kColumns - 1) / kColumns;
  parallel_for(blocks, std::max<int64_t>(1, kSmall / std::max<int64_t>(1, m * kColumns)),
               [&](int64_t begin, int64_t end) {
                 const int64_t column = begin * kColumns,
                               count = std::min(width, end * kColumns) - column;
                 for (int64_t i = 0; i < m; ++i) {
                   float* to = dtable + ids[i] * width + column;
                   isa.add(to, dy + i * width + column, to, count);
                 }
               });
}

}  // namespace zeroth::kernels

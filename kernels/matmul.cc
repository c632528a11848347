// Matrix products: cuts the outputs into tasks of about equal work and runs them on the pool. A
// task owns its outputs and computes each one's whole sum, so how the outputs are cut never shows
// in the result.
#include <algorithm>
#include <type_traits>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/packed_matrix.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

// FMA vectors that one core does in about 3 microseconds: less is not worth a second thread.
constexpr int64_t kSmallTask = 8'000;
// Floats of A or of a B panel that should stay in the second-level cache while they are reused.
constexpr int64_t kCacheFloats = 96 * 1024;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Task {
  int64_t group, row, rows, column, columns;
};

// Cuts group g's outputs [rows, columns] into blocks of at most `row_limit` rows (a multiple of the
// register tile keeps tiles full) so that a task is near `target` FMA vectors.
void cut(std::vector<Task>& tasks, int64_t group, int64_t rows, int64_t columns, int64_t k,
         int64_t row_limit, int64_t target) {
  if (rows <= 0 || columns <= 0) return;
  const int64_t panels = ceil_div(columns, kPanelColumns);
  // Few panels: more row blocks, or some threads would have nothing to do.
  const int64_t wanted =
      std::min(ceil_div(rows, kRowTile), ceil_div(2 * rows * k * panels, target));
  const int64_t row_blocks = std::max(ceil_div(rows, row_limit), ceil_div(wanted, panels));
  const int64_t block = ceil_div(ceil_div(rows, row_blocks), kRowTile) * kRowTile;
  for (int64_t row = 0; row < rows; row += block) {
    const int64_t count = std::min(block, rows - row);
    const int64_t work = std::max<int64_t>(1, 2 * count * k);  // of one panel
    const int64_t width = std::clamp<int64_t>(target / work, 1, panels);
    const int64_t pieces = ceil_div(panels, width);
    for (int64_t i = 0; i < pieces; ++i) {
      const int64_t from = panels * i / pieces * kPanelColumns;
      const int64_t to = std::min(columns, panels * (i + 1) / pieces * kPanelColumns);
      tasks.push_back({group, row, count, from, to - from});
    }
  }
}

int64_t target_of(int64_t total) {
  return std::max(kSmallTask, total / (kChunksPerThread * num_threads()));
}

template <class Body>
void run(const std::vector<Task>& tasks, int64_t total, const Body& body) {
  // One task a chunk: the pool's counter balances them.
  const int64_t count = static_cast<int64_t>(tasks.size());
  const int64_t grain = total < 2 * kSmallTask ? count : 1;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(tasks[i], i + 1 < count ? &tasks[i + 1] : nullptr);
  });
}

// Rows whose distance is a large power of two fall into few cache sets; such a block of A is copied
// with a padded distance before it is used against many panels.
const float* spread_rows(const float* a, int64_t* lda, int64_t rows, int64_t k, int64_t columns) {
  if (*lda % 1024 != 0 || rows < 8 || columns < 4 * kPanelColumns) return a;
  const int64_t ld = (k + 15) / 16 * 16 + 16;
  float* copy = thread_scratch(Slot::kRows, rows * ld);
  for (int64_t i = 0; i < rows; ++i) std::copy_n(a + i * *lda, k, copy + i * ld);
  *lda = ld;
  return copy;
}

int64_t row_limit_for(int64_t k) {
  return std::clamp<int64_t>(kCacheFloats / std::max<int64_t>(1, k) / kRowTile * kRowTile,
                             4 * kRowTile, 1024);
}

// The i-th of `parts` about equal parts of the list.
Blocks blocks_of(const FetchList& list, int64_t i, int64_t parts) {
  Blocks blocks{list.pieces.data(), list.floats, 0, 0};
  const int64_t a_piece = ceil_div(list.floats, Blocks::kFloats);
  const int64_t all = static_cast<int64_t>(list.pieces.size()) * a_piece;
  const int64_t begin = all * i / parts;
  blocks.left = all * (i + 1) / parts - begin;
  if (blocks.left == 0) return {};
  blocks.piece += begin / a_piece;
  blocks.at = begin % a_piece * Blocks::kFloats;
  return blocks;
}

// Rows of W that backward_input packs at a time for so many of its columns: whole leaves.
int64_t depth_limit(int64_t columns) {
  return std::clamp<int64_t>(kCacheFloats / columns / kLeaf * kLeaf, kLeaf, 4 * kLeaf);
}

// Forward product of each group: y rows = x rows W^T.
void multiply(const float* x, int64_t ldx, std::span<const int64_t> offsets, PackedMatrices weights,
              const float* bias, float* y, int64_t ldy, const FetchList& fetch) {
  thread_local std::vector<Task> tasks;
  tasks.clear();
  int64_t total = 0;
  for (size_t g = 0; g < weights.size(); ++g) {
    const Panels w(*weights[g]);
    total += 2 * (offsets[g + 1] - offsets[g]) * ceil_div(w.out, kPanelColumns) * w.in;
  }
  const int64_t target = target_of(total);
  for (size_t g = 0; g < weights.size(); ++g) {
    const Panels w(*weights[g]);
    cut(tasks, static_cast<int64_t>(g), offsets[g + 1] - offsets[g], w.out, w.in,
        row_limit_for(w.in), target);
  }
  const Table& isa = table();
  const int64_t parts = static_cast<int64_t>(tasks.size());
  const auto first_panel = [&](const Task& t, const auto& f) {
    Panels(*weights[t.group]).with_panel(t.column / kPanelColumns, f);
  };
  run(tasks, total, [&, weights, offsets, first = tasks.data()](const Task& t, const Task* next) {
    const Panels w(*weights[t.group]);
    const int64_t row = offsets[t.group] + t.row;
    GemmArgs args{.operands = Operands::kRows,
                  .a = nullptr,
                  .lda = ldx,
                  .panel = w.size(),
                  .c = y + row * ldy + t.column,
                  .ldc = ldy,
                  .m = t.rows,
                  .k = w.in,
                  .columns = t.columns,
                  .bias = bias ? bias + t.column : nullptr,
                  .accumulate = Accumulate::kStart,
                  .blocks = blocks_of(fetch, &t - first, parts)};
    args.a = spread_rows(x + row * ldx, &args.lda, t.rows, w.in, t.columns);
    first_panel(t, [&](auto* panel) {
      args.b = panel;
      if (sizeof(*panel) == sizeof(Bfloat16)) args.operands = Operands::kRowsBfloat16;
    });
    first_panel(next ? *next : t,
                [&](auto* panel) { args.next_panel = panel_strips(panel, kPanelColumns); });
    isa.gemm(args);
  });
}

}  // namespace

void cut_chunks(int64_t begin, int64_t end, RowParts parts, int64_t limit,
                std::vector<RowChunk>& chunks) {
  auto next = std::upper_bound(parts.begin(), parts.end(), begin);
  while (begin < end) {
    const int64_t part_end = next == parts.end() ? end : std::min(end, *next++);
    for (; begin < part_end; begin += limit) {
      chunks.push_back({begin, std::min(begin + limit, part_end)});
    }
    begin = part_end;
  }
}

int64_t packed_floats(int64_t out, int64_t in, Element element) {
  const int64_t elements = ceil_div(out, kPanelColumns) * kPanelColumns * in;
  return element == Element::kFloat32 ? elements : elements / 2;
}

void pack_rows(PackedMatrix& w, int64_t first, int64_t rows, const float* from, int64_t ld) {
  static_assert(kPackRows == kPanelColumns);
  const Table& isa = table();
  const Panels panels(w);
  for (int64_t row = 0; row < rows; row += kPackRows) {
    const int64_t count = std::min(kPackRows, rows - row);
    panels.with_panel((first + row) / kPackRows, [&](auto* panel) {
      if constexpr (std::is_same_v<decltype(panel), float*>) {
        isa.pack_weight(from + row * ld, ld, count, panels.in, panel);
      } else {
        isa.pack_weight_bfloat16(from + row * ld, ld, count, panels.in, panel);
      }
    });
  }
}

void PackedMatrix::pack(const float* w, int64_t out, int64_t in, int64_t ldw, Element element) {
  own_ = allocate_array<float>(packed_floats(out, in, element));
  place(out, in, element, own_.get());
  const Panels panels(*this);
  parallel_for(panels.count(), std::max<int64_t>(1, 16'384 / panels.size()),
               [&](int64_t begin, int64_t end) {
                 const int64_t first = begin * kPackRows, last = std::min(out, end * kPackRows);
                 pack_rows(*this, first, last - first, w + first * ldw, ldw);
               });
}

void linear(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy, int64_t m, const FetchList& fetch) {
  const int64_t offsets[2] = {0, m};
  const PackedMatrix* const weights[1] = {&w};
  multiply(x, ldx, offsets, weights, bias, y, ldy, fetch);
}

void grouped_linear(const float* x, int64_t ldx, std::span<const int64_t> offsets,
                    PackedMatrices weights, float* y, int64_t ldy) {
  multiply(x, ldx, offsets, weights, nullptr, y, ldy, {});
}

namespace {

// Rows k .. k + depth of W, of each the up to 32 columns from `column` on, as a panel [depth][32].
// k is a multiple of 32, and so are the rows that are written: depth may be cut in the last panel.
void unpack(const Panels& w, int64_t k, int64_t depth, int64_t column, int64_t columns,
            float* panel) {
  const Table& isa = table();
  for (int64_t i = 0; i < depth; i += kPanelColumns, panel += kPanelColumns * kPanelColumns) {
    w.with_panel((k + i) / kPanelColumns, [&](auto* from) {
      unpack_weight(isa, from + column * kPanelColumns, columns, panel);
    });
  }
}

// dx rows = (accumulate ? dx : 0) + dy rows W: the leaves of `out` are added in ascending order. A
// task unpacks some leaves of W for all its columns at once, so that W is read in long pieces.
void backward_input(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                    PackedMatrices weights, float* dx, int64_t lddx, bool accumulate) {
  if (weights.empty()) return;
  const int64_t out = weights[0]->out(), in = weights[0]->in();
  thread_local std::vector<Task> tasks;
  tasks.clear();
  const int64_t total = 2 * (offsets.back() - offsets.front()) * ceil_div(in, kPanelColumns) * out;
  const int64_t target = target_of(total);
  for (size_t g = 0; g < weights.size(); ++g) {
    cut(tasks, static_cast<int64_t>(g), offsets[g + 1] - offsets[g], in, out,
        row_limit_for(std::min(out, depth_limit(in))), target);
  }
  const Table& isa = table();
  run(tasks, total, [&, offsets, weights](const Task& t, const Task*) {
    const int64_t row = offsets[t.group] + t.row;
    const int64_t panels = ceil_div(t.columns, kPanelColumns);
    const int64_t block =
        std::min(ceil_div(out, kPanelColumns) * kPanelColumns, depth_limit(panels * kPanelColumns));
    const int64_t panel_size = block * kPanelColumns;
    float* packed = thread_scratch(Slot::kPanel, panels * panel_size);
    for (int64_t k = 0; k < out; k += block) {
      const int64_t depth = std::min(block, out - k);
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t column = p * kPanelColumns;
        unpack(Panels(*weights[t.group]), k, depth, t.column + column,
               std::min<int64_t>(kPanelColumns, t.columns - column), packed + p * panel_size);
      }
      GemmArgs args{.operands = Operands::kRows,
                    .a = nullptr,
                    .lda = lddy,
                    .b = packed,
                    .panel = panel_size,
                    .c = dx + row * lddx + t.column,
                    .ldc = lddx,
                    .m = t.rows,
                    .k = depth,
                    .columns = t.columns,
                    .accumulate = k > 0 || accumulate ? Accumulate::kAdd : Accumulate::kStart};
      args.a = spread_rows(dy + row * lddy + k, &args.lda, t.rows, depth, t.columns);
      isa.gemm(args);
    }
  });
}

// dw [out, in] += dy^T x over the rows of each group: chunks of at most kReductionChunk rows, each
// a chain from +0 in ascending row order, added to dw one after the other. A task owns a block of
// dw for all chunks, which keeps the block in its core's cache and reads its columns of dy from
// memory once.
void backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                     std::span<const int64_t> offsets, std::span<float* const> dw, int64_t lddw,
                     int64_t out, int64_t in, RowParts parts) {
  constexpr int64_t kRows =
      16 * kRowTile;  // of dw in a task: what one packing of a panel of x serves
  thread_local std::vector<Task> tasks;
  tasks.clear();
  const int64_t groups = static_cast<int64_t>(dw.size());
  const int64_t total = 2 * (offsets.back() - offsets.front()) * ceil_div(in, kPanelColumns) * out;
  const int64_t target = target_of(total);
  thread_local std::vector<RowChunk> chunk_memory;
  thread_local std::vector<size_t> first_memory;  // [groups + 1] of each group
  std::vector<RowChunk>& chunks = chunk_memory;
  std::vector<size_t>& first = first_memory;
  chunks.clear();
  first.assign(1, 0);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t depth = offsets[g + 1] - offsets[g];
    if (depth > 0) cut(tasks, g, out, in, depth, kRows, target);
    cut_chunks(offsets[g], offsets[g + 1], parts, kReductionChunk, chunks);
    first.push_back(chunks.size());
  }
  const Table& isa = table();
  run(tasks, total, [&, dw](const Task& t, const Task* next) {
    for (size_t i = first[t.group]; i < first[t.group + 1]; ++i) {
      const int64_t begin = chunks[i].begin, depth = chunks[i].end - begin;
      float* panel = thread_scratch(Slot::kPanel, depth * kPanelColumns);
      // Meanwhile the chunk that follows is fetched, here or where the next task begins.
      const bool more = i + 1 < first[t.group + 1];
      const Task& then = more || !next ? t : *next;
      const int64_t then_begin = more   ? chunks[i + 1].begin
                                 : next ? chunks[first[next->group]].begin
                                        : chunks[i].end;
      constexpr int64_t kFloat = sizeof(float);
      const Strips dy_then{reinterpret_cast<uintptr_t>(dy) +
                               static_cast<uintptr_t>((then_begin * lddy + then.row) * kFloat),
                           lddy * kFloat, kLineBytes, ceil_div(then.rows, kLineFloats)};
      const int64_t panels = ceil_div(t.columns, kPanelColumns);
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t column = t.column + p * kPanelColumns;
        const int64_t width = std::min<int64_t>(kPanelColumns, t.column + t.columns - column);
        const float* x_then = p + 1 < panels ? x + begin * ldx + column + kPanelColumns
                                             : x + then_begin * ldx + then.column;
        isa.gemm_pack_b(x + begin * ldx + column, ldx, depth, width, panel);
        isa.gemm({.operands = Operands::kColumns,
                  .a = dy + begin * lddy + t.row,
                  .lda = lddy,
                  .b = panel,
                  .c = dw[t.group] + t.row * lddw + column,
                  .ldc = lddw,
                  .m = t.rows,
                  .k = depth,
                  .columns = width,
                  .accumulate = Accumulate::kAdd,
                  .next_panel = panel_strips(x_then, ldx),
                  .later = part_of(dy_then, p, panels)});
      }
    }
  });
}

}  // namespace

void linear_backward_input(const float* dy, int64_t lddy, const PackedMatrix& w, float* dx,
                           int64_t lddx, int64_t m, bool accumulate) {
  const int64_t offsets[2] = {0, m};
  const PackedMatrix* const weights[1] = {&w};
  backward_input(dy, lddy, offsets, weights, dx, lddx, accumulate);
}

void linear_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx, float* dw,
                            int64_t lddw, float* dbias, int64_t m, int64_t out, int64_t in,
                            RowParts parts) {
  const int64_t offsets[2] = {0, m};
  float* const gradients[1] = {dw};
  backward_weight(dy, lddy, x, ldx, offsets, gradients, lddw, out, in, parts);
  if (!dbias) return;
  std::vector<RowChunk> chunks;
  cut_chunks(0, m, parts, kReductionChunk, chunks);
  const Table& isa = table();
  constexpr int64_t kColumns = 64;
  parallel_for(ceil_div(out, kColumns), ceil_div(16'384, kColumns * std::max<int64_t>(1, m)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t block = begin; block < end; ++block) {
                   const int64_t column = block * kColumns,
                                 width = std::min(kColumns, out - column);
                   for (const RowChunk& chunk : chunks) {
                     float sums[kColumns] = {};
                     for (int64_t row = chunk.begin; row < chunk.end; ++row)
                       isa.add(sums, dy + row * lddy + column, sums, width);
                     isa.add(dbias + column, sums, dbias + column, width);
                   }
                 }
               });
}

void grouped_backward_input(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                            PackedMatrices w, float* dx, int64_t lddx) {
  backward_input(dy, lddy, offsets, w, dx, lddx, false);
}

void grouped_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                             std::span<const int64_t> offsets, std::span<float* const> dw,
                             int64_t out, int64_t in, RowParts parts) {
  backward_weight(dy, lddy, x, ldx, offsets, dw, in, out, in, parts);
}

}  // namespace zeroth::kernels

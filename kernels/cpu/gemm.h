// The one matrix product, cut into register tiles (kernels/cpu/tile.h).
#pragma once

#include "kernels/cpu/gemm_args.h"
#include "kernels/cpu/tile.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

template <class B>
using TileFunction = void (*)(const Tile<B>&);

// Every tile of a panel's columns: by rows, by one vector or two, by how A is stored.
template <class B>
struct Tiles {
  TileFunction<B> f[kRowTile + 1][2][2] = {};
  constexpr Tiles() { add<1>(); }
  template <int kRows>
  constexpr void add() {
    constexpr bool kByColumns = sizeof(B) == sizeof(float);  // no other product has it
    if constexpr (kRows <= kMaxAccumulators) {
      f[kRows][0][0] = tile<kRows, 1, false, B>;
      if constexpr (kByColumns) f[kRows][0][1] = tile<kRows, 1, true, B>;
    }
    if constexpr (kWide) {
      f[kRows][1][0] = tile<kRows, 2, false, B>;
      if constexpr (kByColumns) f[kRows][1][1] = tile<kRows, 2, true, B>;
    }
    if constexpr (kRows < kRowTile) add<kRows + 1>();
  }
};
template <class B>
inline constexpr Tiles<B> kTiles;

// The first `columns` of a panel, up to 32, against all m rows of A. `t` holds everything but the
// tile's place. The tiles fetch the strips of `first`, one or two each, then those of `then`, as
// far as there are tiles.
template <bool kByColumns, class B>
void gemm_panel(Tile<B> t, int64_t m, const Strips& first, const Strips& then) {
  const Tile<B> corner = t;
  for (int64_t column = 0; column < corner.columns; column += kLanes) {
    const bool wide = kWide && corner.columns > kLanes;
    const int64_t most = wide ? kRowTile : kNarrowRows;
    const int64_t tiles = (m + most - 1) / most;
    const int64_t beside = first.count + then.count > tiles ? 2 : 1;  // strips beside a tile
    t.b = corner.b + column;
    t.bias = corner.bias ? corner.bias + column : nullptr;
    t.columns = corner.columns - column;
    for (int64_t i = 0, row = 0; i < tiles; ++i) {
      const int64_t rows = (m - row + (tiles - i) - 1) / (tiles - i);  // of about equal height
      t.a = corner.a + row * (kByColumns ? 1 : t.lda);
      t.c = corner.c + row * t.ldc + column;
      fetch_rows_below<kByColumns>(t.fetches, t.a, t.lda, rows);
      const int64_t at = i * beside;
      const Strips& strips = at < first.count ? first : then;
      const int64_t strip = at < first.count ? at : at - first.count;
      t.fetches.far = strip < strips.count
                          ? strips.from + static_cast<uintptr_t>(strip * strips.strip)
                          : uintptr_t{0};
      t.fetches.far_k = strips.step;
      t.fetches.far_line = beside == 2 ? strips.strip : 0;
      kTiles<B>.f[rows][wide][kByColumns](t);
      row += rows;
    }
    if (wide) return;
  }
}

// So few rows that they read the panels from memory about as fast as they multiply them: several
// panels at a time keep enough loads and chains in flight. Returns the columns that are done.
template <class B, class At>
ZEROTH_INLINE int64_t gemm_few_rows(const GemmArgs& g, Tile<B>& t, const At& at) {
  int64_t column = 0;
  if (g.m == 1) {
    constexpr int kVecs = kMaxAccumulators >= 24 ? 8 : 4;
    constexpr int kColumns = kVecs * kLanes;
    for (; column + kColumns - kPanelColumns < g.columns; column += kColumns) {
      at(column);
      tile<1, kVecs, false>(t);
    }
  }
  if constexpr (kMaxAccumulators >= 24) {
    if (g.m < 2 || g.m > 5) return column;
    constexpr TileFunction<B> kFour[4] = {tile<2, 4, false, B>, tile<3, 4, false, B>,
                                          tile<4, 4, false, B>, tile<5, 4, false, B>};
    for (; column + kPanelColumns < g.columns; column += 2 * kPanelColumns) {
      at(column);
      kFour[g.m - 2](t);
    }
  }
  return column;
}

template <bool kByColumns, class B>
void gemm_of(const GemmArgs& g) {
  const B* const b = static_cast<const B*>(g.b);
  Tile<B> t{.a = g.a,
            .lda = g.lda,
            .b = b,
            .b_k = kPanelColumns,
            .b_panel = g.panel,
            .c = g.c,
            .ldc = g.ldc,
            .k = g.k,
            .leaf = kLeaf,
            .columns = g.columns,
            .bias = g.bias,
            .accumulate = g.accumulate};
  Blocks blocks = g.blocks;
  const auto at = [&](int64_t column) {
    t.b = b + column / kPanelColumns * g.panel;
    t.c = g.c + column;
    t.columns = g.columns - column;
    t.bias = g.bias ? g.bias + column : nullptr;
  };
  int64_t column = 0;
  if constexpr (!kByColumns) column = gemm_few_rows(g, t, at);
  t.fetches.blocks = blocks.left > 0 ? &blocks : nullptr;
  const int64_t panels = (g.columns + kPanelColumns - 1) / kPanelColumns;
  for (; column < g.columns; column += kPanelColumns) {
    at(column);
    // Weights come from memory once per product; the core's own prefetcher alone leaves it waiting.
    const bool more = column + kPanelColumns < g.columns && g.next_panel.count > 0;
    if (t.columns > kPanelColumns) t.columns = kPanelColumns;
    gemm_panel<kByColumns>(t, g.m, more ? panel_strips(t.b + g.panel, kPanelColumns) : g.next_panel,
                           part_of(g.later, column / kPanelColumns, panels));
  }
}

inline void gemm(const GemmArgs& g) {
  switch (g.operands) {
    case Operands::kRows:
      return gemm_of<false, float>(g);
    case Operands::kColumns:
      return gemm_of<true, float>(g);
    case Operands::kRowsBfloat16:
      return gemm_of<false, Bfloat16>(g);
  }
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

// What one instruction set offers to the operators of kernels/*.cc: plain functions on plain
// arguments, each run by one thread. kernels/cpu/{avx512,avx2,portable}.cc fill one Table each from
// the same sources.
#pragma once

#include <stdint.h>

namespace zeroth::kernels {

inline constexpr int kPanelColumns = 32;
inline constexpr int kRowTile = 12;  // rows of a register tile (at most)
inline constexpr int kReductionChunk =
    256;  // rows that a weight gradient adds up before it is rounded into dw

// How gemm() treats what is in C.
enum class Accumulate {
  kStart,     // the chain starts at +0
  kContinue,  // the chain starts at C: a later part of the same reduction
  kAdd        // the chain starts at +0 and its end is added to C
};

// Memory that is fetched into the second-level cache while tiles are computed: `count` strips of
// one cache line for every k of a product, `step` apart; the strips begin `strip` apart.
struct Strips {
  const float* from = nullptr;
  int64_t step = 0, strip = 0, count = 0;

  Strips part(int64_t i, int64_t parts) const {  // the i-th of `parts` about equal ones
    const int64_t begin = count * i / parts;
    return {from + begin * strip, step, strip, count * (i + 1) / parts - begin};
  }
};
inline constexpr int64_t kLineFloats = 16;
inline Strips panel_strips(const float* rows, int64_t row) {  // 32 columns of k rows
  return {rows, row, kLineFloats, kPanelColumns / kLineFloats};
}

// Pieces of memory that are fetched block by block, kBeside blocks beside every kRowTile values of
// k of a tile; a block is kRowTile cache lines.
struct Blocks {
  static constexpr int64_t kFloats = kRowTile * kLineFloats, kBeside = 2;

  const float* const* piece = nullptr;
  int64_t floats = 0;  // of a piece
  int64_t at = 0;      // where in *piece the next block begins
  int64_t left = 0;    // blocks

  int64_t of_piece() const { return (floats + kFloats - 1) / kFloats; }
  const float* take() {  // only while some are left
    const float* block = *piece + at;
    at += kFloats;
    if (at >= floats) {
      at = 0;
      ++piece;
    }
    --left;
    return block;
  }
};

// C [m, columns] from A [m, k] and panels of B; panel p holds columns 32 p .. 32 p + 31 as [k][32]
// floats, zero padded.
struct GemmArgs {
  const float* a;
  int64_t a_row, a_k;  // distance between rows and between k of A; one of them is 1
  const float* b;      // first panel
  int64_t panel;       // distance between panels
  float* c;
  int64_t c_row;
  int64_t m, k, columns;
  const float* bias;  // [columns] added last, or null
  Accumulate accumulate;
  // What the core reads after this product: the panel of B that follows its last (or where that is
  // packed from), and anything else. Without them nothing is fetched ahead: B is in its caches.
  Strips next_panel = {}, later = {};
  Blocks blocks = {};  // beside the strips, as far as the product lasts
};

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
  int64_t k_page, v_page;  // distance between pages
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
inline int64_t attention_backward_scratch(int k_dim, int v_dim) {
  const auto padded = [](int64_t n) { return (n + 15) / 16 * 16; };
  return kBackwardVectors * (2 * padded(k_dim) + padded(v_dim) + 2 * 16);
}

struct AdamWConstants {
  float grad_scale, beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float step_size;                 // lr / (1 - beta1^t)
  float inverse_root_correction2;  // 1 / sqrt(1 - beta2^t)
  float decay;                     // 1 - lr * weight_decay
};

// Rows of the backward pass of ops.h's swiglu_backward(); `order` starts at the first row,
// `weights` and `dweights` at choice 0 (without an order: at the first row).
struct SwigluBackward {
  const float* dy;
  int64_t lddy;
  const float* gu;
  int64_t ldgu;
  float* dgu;
  int64_t lddgu;
  float* act;  // [m, width] or null
  const int32_t* order;
  const float* weights;
  float* dweights;
  int64_t m, width;
};

struct RowStatistics {
  float largest, lse, entropy;
};

struct Table {
  const char* name;
  // Matrix products. gemm_pack_b copies rows k of a row-major matrix into one panel: [k][32], zero
  // padded.
  void (*gemm)(const GemmArgs& args);
  void (*gemm_pack_b)(const float* b, int64_t ldb, int64_t k, int64_t columns, float* panel);
  void (*pack_weight)(const float* w, int64_t ldw, int64_t rows, int64_t k, float* panel);
  // Rows.
  void (*rms_norm)(const float* x, int64_t ldx, const float* weight, float eps, float* y,
                   int64_t ldy, float* inv_rms, int64_t m, int64_t width);
  void (*rms_norm_backward)(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                            const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                            float* dweight, int64_t m, int64_t width, bool accumulate);
  void (*add)(const float* a, const float* b, float* y, int64_t n);
  // y = (accumulate ? y : 0) + a * x.
  void (*axpy)(float a, const float* x, float* y, int64_t n, bool accumulate);
  float (*dot)(const float* a, const float* b, int64_t n);
  void (*swiglu)(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width);
  void (*swiglu_backward)(const SwigluBackward& rows);
  void (*rope)(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions,
               const float* cos, const float* sin, int64_t m, int heads, int dim, bool interleaved,
               bool inverse);
  // Attention.
  void (*attention)(const AttentionTile& tile);
  void (*attention_backward)(const AttentionBackwardTile& tile);
  void (*transpose)(const float* in, int64_t ld_in, int rows, int columns, float* out,
                    int64_t ld_out);
  // Softmax family on one row. scale multiplies the logits first.
  void (*softmax)(const float* x, float* y, int64_t n);
  void (*sigmoid)(const float* x, float* y, int64_t n);
  RowStatistics (*row_statistics)(const float* logits, int64_t n, float scale);
  // weights[i] = exp(scale * logits[i] - largest).
  void (*row_exp)(const float* logits, int64_t n, float scale, float largest, float* weights);
  double (*row_total)(const float* weights, int64_t n);
  int64_t (*row_find)(const float* weights, int64_t n, double target);
  // logits[i] = gradient of dlogprob * logprob[target] + dentropy * entropy (without the target's
  // own +dlogprob).
  void (*row_gradient)(float* logits, int64_t n, float scale, const RowStatistics& row,
                       float dlogprob, float dentropy);
  // Optimizer.
  double (*sum_squares)(const float* x, int64_t n);
  void (*adamw)(float* w, const float* grad, float* m, float* v, int64_t n,
                const AdamWConstants& constants);
  // What a core can do (kernels/limits.h).
  float (*fma_loop)(int64_t iterations);
  float (*read_loop)(const float* x, int64_t n);
};
inline constexpr int kFmaLoopVectors = 24;  // FMAs of 16 lanes per iteration of fma_loop

const Table& portable_table();
const Table& avx2_table();
const Table& avx512_table();

// The table in use (set_isa).
const Table& table();

}  // namespace zeroth::kernels

// What one instruction set offers to the operators of kernels/*.cc: plain functions on plain
// arguments, each run by one thread. kernels/cpu/{avx512,avx2,neon,portable}.cc fill one Table
// each from the same sources.
#pragma once

#include <stdint.h>

#include "kernels/cpu/attention_args.h"
#include "kernels/cpu/delta_args.h"
#include "kernels/cpu/gemm_args.h"
#include "kernels/gate.h"

namespace zeroth::kernels {

inline constexpr int kReductionChunk =
    256;  // rows that a weight gradient adds up before it is rounded into dw

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
  Gate gate;
};

struct RowStatistics {
  float largest, lse, entropy;
};

struct Table {
  const char* name;
  // Matrix products. gemm_pack_b copies rows k of a row-major matrix into one panel: [k][32], zero
  // padded. pack_weight does it with the transpose of up to 32 rows of a [out, in] matrix;
  // unpack_weight gives back [32][32] of it (kernels/cpu/pack.h).
  void (*gemm)(const GemmArgs& args);
  void (*gemm_pack_b)(const float* b, int64_t ldb, int64_t k, int64_t columns, float* panel);
  void (*pack_weight)(const float* w, int64_t ldw, int64_t rows, int64_t k, float* panel);
  void (*pack_weight_bfloat16)(const float* w, int64_t ldw, int64_t rows, int64_t k,
                               Bfloat16* panel);
  void (*unpack_weight)(const float* panel, int64_t columns, float* out);
  void (*unpack_weight_bfloat16)(const Bfloat16* panel, int64_t columns, float* out);
  void (*widen)(const Bfloat16* x, float* y, int64_t n);
  void (*narrow)(const float* x, Bfloat16* y, int64_t n);
  // Rows.
  void (*rms_norm)(const float* x, int64_t ldx, const float* weight, float eps, float* y,
                   int64_t ldy, float* inv_rms, int64_t m, int64_t width, bool plus_one);
  void (*rms_norm_backward)(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                            const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                            float* dweight, int64_t m, int64_t width, bool accumulate,
                            bool plus_one);
  void (*add)(const float* a, const float* b, float* y, int64_t n);
  // y = (accumulate ? y : 0) + a * x.
  void (*axpy)(float a, const float* x, float* y, int64_t n, bool accumulate);
  float (*dot)(const float* a, const float* b, int64_t n);
  void (*swiglu)(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
                 const Gate& gate);
  void (*swiglu_backward)(const SwigluBackward& rows);
  void (*rope)(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions,
               const float* cos, const float* sin, int64_t m, int heads, int dim, bool interleaved,
               bool inverse);
  // Attention.
  void (*attention)(const AttentionTile& tile);
  void (*attention_backward)(const AttentionBackwardTile& tile);
  void (*transpose)(const float* in, int64_t ld_in, int rows, int columns, float* out,
                    int64_t ld_out);
  // kernels/cpu/sinks.h.
  void (*add_sinks)(const float* sinks, float* out, float* lse, int64_t heads, int64_t dim);
  void (*sink_gradients)(const float* sinks, const float* out, const float* dout, const float* lse,
                         float* d, int64_t heads, int64_t dim);
  // kernels/cpu/delta.h.
  void (*conv_rows)(const ConvRows& rows, float* y, int64_t ldy, int64_t begin, int64_t end);
  void (*conv_slopes)(const ConvRows& rows, const float* dy, int64_t lddy, float* dz, int64_t begin,
                      int64_t end);
  void (*conv_gradients)(const ConvRows& rows, const float* dz, float* dx, int64_t lddx, float* sum,
                         int64_t begin, int64_t end, int64_t i, int lanes);
  void (*delta_gates)(const float* x, const float* a_log, const float* dt_bias, float* gates,
                      int64_t heads);
  void (*delta_gates_backward)(const float* dgates, const float* x, const float* a_log,
                               const float* dt_bias, const float* gates, float* dx, float* d,
                               int64_t heads);
  void (*delta_page)(const DeltaPage& page);
  void (*delta_page_backward)(DeltaPageBackward& page);
  // Softmax family on one row. scale multiplies the logits first.
  void (*softmax)(const float* x, float* y, int64_t n);
  void (*sigmoid)(const float* x, float* y, int64_t n);
  RowStatistics (*row_statistics)(const float* logits, int64_t n, float scale);
  // x = cap tanh(x / cap); d *= that function's derivative, by the capped values.
  void (*softcap)(float* x, int64_t n, float cap);
  void (*softcap_backward)(const float* capped, float* d, int64_t n, float cap);
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
const Table& neon_table();

// The table in use (set_isa).
const Table& table();

}  // namespace zeroth::kernels

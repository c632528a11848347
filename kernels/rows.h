// Operators on rows: norms, activations, rotary positions, embeddings. What all operators promise:
// kernels/ops.h.
#pragma once

#include <cstdint>

#include "kernels/gate.h"
#include "kernels/matmul.h"

namespace zeroth::kernels {

// y = x / sqrt(mean(x^2) + eps) * weight per row of `width`; inv_rms [m] is saved for backward when
// not null. ldx/ldy allow heads inside a row to be normalised as rows of their own.
// With heads > 1 a row holds that many parts of `width` beside each other, each normalised on its
// own with the same weight; inv_rms is [heads, m] then, its rows ldinv (0: m) apart.
// plus_one: weights are stored as their distance from one (Gemma), y = .. * (weight + 1).
void rms_norm(const float* x, int64_t ldx, const float* weight, float eps, float* y, int64_t ldy,
              float* inv_rms, int64_t m, int64_t width, int64_t heads = 1, int64_t ldinv = 0,
              bool plus_one = false);
// dx (=, or += when accumulate), dweight [width] += .
void rms_norm_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                       const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                       float* dweight, int64_t m, int64_t width, bool accumulate, int64_t heads = 1,
                       RowParts parts = {}, bool plus_one = false);
// y = a + b (may alias either).
void add(const float* a, const float* b, float* y, int64_t n);
// y [m, width] = function(gate) * up (kernels/gate.h) where row i of gu is [gate(width) | up(width)].
void swiglu(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
            Gate function = Gate::kSilu);
// The weight of row i is weights[order[i]] (order null: weights[i]), its gradient dweights there.
template <class Where>
struct RowWeightsIn {
  typename Where::template At<const int32_t> order = {};
  typename Where::template At<const float> weights = {};
  typename Where::template At<float> dweights = {};
};
using RowWeights = RowWeightsIn<InHost>;
using DeviceWeights = RowWeightsIn<OnDevice>;
// dgu from dy, the gradient of weight * y (no weights: of y). With act [m, width] it is set to
// weight * y, and dweights to <y, dy>: so a weighted sum of MLP outputs is differentiated without
// keeping the outputs (Guo et al., "SonicMoE", 2025).
void swiglu_backward(const float* dy, int64_t lddy, const float* gu, int64_t ldgu, float* dgu,
                     int64_t lddgu, int64_t m, int64_t width, float* act = nullptr,
                     const RowWeights& w = {}, Gate function = Gate::kSilu);
// Rotates `heads` heads of `dim` at x + row * ldx + head * head_stride, in place, by cos/sin
// [positions, dim / 2]. interleaved = false: pairs (i, i + dim/2) (Llama, Qwen); true: pairs (2i,
// 2i + 1) (DeepSeek). inverse: backward.
void rope(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions, const float* cos,
          const float* sin, int64_t m, int heads, int dim, bool interleaved, bool inverse);
// A table [vocab, width] in one of three forms.
struct EmbeddingTable {
  At<const float> floats = {};
  At<const Bfloat16> halves = {};
  const PackedMatrix* packed = nullptr;
};
// out [m, width] = table[ids]; backward: dtable[ids] += dy in ascending row order.
void embedding(const EmbeddingTable& table, int64_t width, const int32_t* ids, float* out,
               int64_t m);
void embedding_backward(const float* dy, const int32_t* ids, float* dtable, int64_t m,
                        int64_t width, int64_t vocab);

// On the caller's thread. widen is exact; narrow rounds to nearest even, and NaN stays NaN.
void widen(const Bfloat16* x, float* y, int64_t n);
void narrow(const float* x, Bfloat16* y, int64_t n);

}  // namespace zeroth::kernels

// The router, dispatch to experts and the weighted sum of what they return. What all operators
// promise: kernels/ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/parts.h"
#include "kernels/rows.h"

namespace zeroth::kernels {

struct RouterConfig {
  int experts = 0, top_k = 0;
  bool sigmoid = false;    // scores: softmax over experts, or sigmoid (DeepSeek-V3)
  bool normalize = false;  // divide the chosen scores by their sum (+ 1e-20 for sigmoid)
  int groups = 1, top_groups = 1;
  bool group_sum_top2 =
      false;        // group score: sum of its two best biased scores (V3), else its best (V2)
  float scale = 1;  // routed_scaling_factor
};
// logits [m, E], bias [E] or null (selection only). Ties go to the lowest index; a row's ids come
// in ascending expert order. Outputs ids [m, k], weights [m, k], scores [m, E] (softmax or sigmoid,
// for backward).
void route(const float* logits, const float* bias, const RouterConfig& config, int32_t* ids,
           float* weights, float* scores, int64_t m);
// weights [m, k] of choices that were made elsewhere: ids [m, k], in ascending expert order within a
// row. scores [m, E] are those of route, and so are the weights of its own choices, bit for bit.
void weigh_choices(const float* scores, const int32_t* ids, const RouterConfig& config,
                   float* weights, int64_t m);
// dlogits [m, E] = from dweights [m, k].
void route_backward(const float* dweights, const int32_t* ids, const float* weights,
                    const float* scores, const RouterConfig& config, float* dlogits, int64_t m);
// Stable counting sort of the m * k choices by expert: offsets [E + 1], order [m * k]: order[i] =
// choice index (row * k + slot).
void expert_sort(const int32_t* ids, int64_t m, int top_k, int experts, int64_t* offsets,
                 int32_t* order);
// begins [E, parts]: where the rows of a part (kernels/parts.h) begin among an expert's sorted
// choices, or would.
void choice_parts(std::span<const int64_t> offsets, std::span<const int32_t> order, int top_k,
                  RowParts parts, int64_t* begins);
// out[i] = x[order[i] / k] for every sorted choice; backward: dx[row] = (accumulate ? dx : 0) + sum
// over slots ascending.
void gather_rows(const float* x, int64_t ldx, std::span<const int32_t> order, int top_k, float* out,
                 int64_t width);
void gather_rows_backward(const float* dout, std::span<const int32_t> order, int top_k, float* dx,
                          int64_t lddx, int64_t m, int64_t width, bool accumulate);
// y [rows, width] += the bias of a row's group: rows offsets[e] .. offsets[e + 1] get bias[e] of
// bias [groups, width].
void add_group_bias(float* y, int64_t ldy, std::span<const int64_t> offsets, const float* bias,
                    int64_t width);
// dbias [groups, width] += sums over the rows of a group of weight * dy; with dweights, they += <dy,
// bias of the group>. Weights and their order are those of swiglu_backward; `parts` those of
// grouped_backward_weight.
void group_bias_backward(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                         const float* bias, float* dbias, int64_t width, const RowWeights& w = {},
                         RowParts parts = {});
// out[row] = sum over slots ascending of weights[row, slot] * y[place of that choice].
void combine(const float* y, std::span<const int32_t> order, const float* weights, int top_k,
             float* out, int64_t ldout, int64_t m, int64_t width);

}  // namespace zeroth::kernels

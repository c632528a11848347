// The router, dispatch to experts and the weighted sum of what they return on a device: what
// kernels/moe.h does. All pointers are the device's, the sizes of the groups too: nothing waits for
// the host. Calls start kernels on a stream and return.
#pragma once

#include <cstdint>

#include "kernels/cuda/products.h"
#include "kernels/moe.h"

namespace zeroth::kernels::cuda {

void route(Stream stream, const float* logits, const float* bias, const RouterConfig& config,
           int32_t* ids, float* weights, float* scores, int64_t m);
// Weights of choices that were made elsewhere.
void weigh_choices(Stream stream, const float* scores, const int32_t* ids,
                   const RouterConfig& config, float* weights, int64_t m);
void route_backward(Stream stream, const float* dweights, const int32_t* ids, const float* scores,
                    const RouterConfig& config, float* dlogits, int64_t m);
// offsets [experts + 1] and order [m * top_k], stable; place[choice]: where in `order` it stands.
void expert_sort(Stream stream, const int32_t* ids, int64_t m, int top_k, int experts,
                 int64_t* offsets, int32_t* order, int32_t* place);
// place[order[i]] = i, for an order that came from elsewhere.
void places_of(Stream stream, const int32_t* order, int64_t choices, int32_t* place);
// begins [experts][parts]: where the rows of a part begin among an expert's sorted choices.
void choice_parts(Stream stream, const int64_t* offsets, int experts, const int32_t* order,
                  int top_k, const int64_t* parts, int64_t count, int64_t* begins);
void gather_rows(Stream stream, const float* x, int64_t ldx, const int32_t* order, int64_t choices,
                 int top_k, float* out, int64_t width);
void gather_rows_backward(Stream stream, const float* dout, const int32_t* place, int top_k,
                          float* dx, int64_t lddx, int64_t m, int64_t width, bool accumulate);
// y += the biases of the groups' rows; bias [groups, width].
void add_group_bias(Stream stream, float* y, int64_t ldy, const RowBounds& groups,
                    const float* bias, int64_t width);
// kernels/moe.h's group_bias_backward; order, weights and dweights may be null. parts: of the rows of
// all groups, none of two groups.
struct GroupBiasGradient {
  const float* dy = nullptr;
  int64_t lddy = 0;
  const float* bias = nullptr;
  float* dbias = nullptr;
  int64_t width = 0;
  const int32_t* order = nullptr;
  const float* weights = nullptr;
  float* dweights = nullptr;
};
void group_bias_backward(Stream stream, const GroupBiasGradient& rows, const RowBounds& groups,
                         const RowBounds& parts);
void combine(Stream stream, const float* y, const int32_t* place, const float* weights, int top_k,
             float* out, int64_t ldout, int64_t m, int64_t width);
// dlogits += the gradient of sum_e aux[e] * share_e.
void balance_backward(Stream stream, const RouterConfig& router, const float* scores,
                      const float* aux, float* dlogits, int64_t m);

}  // namespace zeroth::kernels::cuda

// Attention sinks: what one more logit in every head's softmax does to a row.
#pragma once

#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// out [heads * dim] and lse [heads] of one row.
inline void add_sinks(const float* sinks, float* out, float* lse, int64_t heads, int64_t dim) {
  for_lanes(heads, [&](int64_t head, int lanes) {
    const Vec own = load_part(lse + head, lanes), sink = load_part(sinks + head, lanes);
    const Vec top = larger(own, sink), low = smaller(own, sink);
    float share[kLanes], largest[kLanes], sum[kLanes];
    store(share, sigmoid(sub(own, sink)));
    store(largest, top);
    store(sum, add(splat(1.0f), exp(sub(low, top))));
    for (int j = 0; j < lanes; ++j) {
      lse[head + j] = largest[j] + log(sum[j]);
      const Vec by = splat(share[j]);
      float* const of_head = out + (head + j) * dim;
      for_lanes(dim, [&](int64_t i, int n) {
        store_part(of_head + i, mul(load_part(of_head + i, n), by), n);
      });
    }
  });
}

// d[h] = the row's part of the gradient of sink h: -(share of the sink) <dout, out>.
inline void sink_gradients(const float* sinks, const float* out, const float* dout,
                           const float* lse, float* d, int64_t heads, int64_t dim) {
  for_lanes(heads, [&](int64_t head, int lanes) {
    float share[kLanes];
    store(share, exp(sub(load_part(sinks + head, lanes), load_part(lse + head, lanes))));
    for (int j = 0; j < lanes; ++j) {
      const int64_t at = (head + j) * dim;
      d[head + j] = 0.0f - share[j] * dot_row(dout + at, out + at, dim);
    }
  });
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

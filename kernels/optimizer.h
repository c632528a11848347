// AdamW. What all operators promise: kernels/ops.h.
#pragma once

#include <cstdint>

namespace zeroth::kernels {

// Sum of squares in double, in a fixed order.
double sum_squares(const float* x, int64_t n);
struct AdamWStep {
  float lr = 0, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-15f, weight_decay = 0;
  int64_t step = 1;      // from 1; bias correction
  float grad_scale = 1;  // multiplies the gradient (clipping)
};
// Decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2). All arrays [n].
void adamw(float* w, const float* grad, float* m, float* v, int64_t n, const AdamWStep& step);

}  // namespace zeroth::kernels

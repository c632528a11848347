#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/adamw_constants.h"
#include "kernels/cpu/table.h"
#include "kernels/norm_chunk.h"
#include "kernels/ops.h"

namespace zeroth::kernels {
namespace {

// x^n by squaring: the library's pow may differ between systems.
double power(double x, int64_t n) {
  double y = 1;
  for (; n > 0; n /= 2, x *= x)
    if (n % 2) y *= x;
  return y;
}

}  // namespace

double sum_squares(const float* x, int64_t n) {
  const Table& isa = table();
  const int64_t chunks = (n + kNormChunk - 1) / kNormChunk;
  std::vector<double> partial(chunks);
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      partial[c] = isa.sum_squares(x + c * kNormChunk, std::min(kNormChunk, n - c * kNormChunk));
  });
  double sum = 0;
  for (double p : partial) sum += p;
  return sum;
}

AdamWConstants constants_of(const AdamWStep& step) {
  if (step.step < 1) fail("AdamW step " + std::to_string(step.step), "steps count from 1");
  const double correction1 = 1 - power(step.beta1, step.step),
               correction2 = 1 - power(step.beta2, step.step);
  return {step.grad_scale,
          step.beta1,
          static_cast<float>(1 - static_cast<double>(step.beta1)),
          step.beta2,
          static_cast<float>(1 - static_cast<double>(step.beta2)),
          step.eps,
          static_cast<float>(step.lr / correction1),
          static_cast<float>(1 / std::sqrt(correction2)),
          static_cast<float>(1 - static_cast<double>(step.lr) * step.weight_decay)};
}

void adamw(float* w, const float* grad, float* m, float* v, int64_t n, const AdamWStep& step) {
  const AdamWConstants constants = constants_of(step);
  const Table& isa = table();
  parallel_for(n, 16'384, [&](int64_t begin, int64_t end) {
    isa.adamw(w + begin, grad + begin, m + begin, v + begin, end - begin, constants);
  });
}

}  // namespace zeroth::kernels

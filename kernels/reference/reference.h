// Plain truths: every operator in a few lines of double arithmetic, the oracle of the tests. Dense
// inputs, no pages, no threads, no vectors; what they compute is the operator's definition, up to
// rounding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/head.h"
#include "kernels/ops.h"

namespace zeroth::kernels::reference {

using Doubles = std::vector<double>;

// y [m, out] = x [m, in] W^T + bias (empty: none).
Doubles linear(std::span<const float> x, std::span<const float> w, std::span<const float> bias,
               int64_t m, int64_t out, int64_t in);
// A [m, k] B [k, n].
Doubles product(std::span<const double> a, std::span<const double> b, int64_t m, int64_t k,
                int64_t n);
Doubles transpose(std::span<const double> a, int64_t rows, int64_t columns);
Doubles rms_norm(std::span<const double> x, std::span<const double> weight, double eps, int64_t m,
                 int64_t width);
Doubles swiglu(std::span<const double> gu, int64_t m, int64_t width, Gate function = Gate::kSilu);
Doubles rope(std::span<const double> x, std::span<const double> cos, std::span<const double> sin,
             int64_t heads, int64_t dim, bool interleaved);
Doubles softmax(std::span<const double> x);

// One sequence: q, k, v [length, heads or kv_heads, dim]; row i sees keys max(0, i - window + 1) ..
// i.
struct Attention {
  int64_t length = 0;
  int heads = 1, kv_heads = 1, k_dim = 1, v_dim = 1, window = 0;
  double scale = 1;
  // out [length, heads * v_dim].
  Doubles operator()(std::span<const double> q, std::span<const double> k,
                     std::span<const double> v) const;
};

// Routing of one row: ids ascending and their weights.
struct Route {
  std::vector<int32_t> ids;
  Doubles weights;
};
Route route(std::span<const double> logits, std::span<const double> bias,
            const RouterConfig& config);

struct HeadRow {
  double logprob, entropy;
};
// Over the kept ids only, when there are any.
HeadRow head(std::span<const double> logits, double temperature, int32_t target, KeptSet kept);

// Numeric gradient of f at x by central differences, entry by entry.
template <class F>
Doubles gradient(const F& f, Doubles x, double step = 1e-5) {
  Doubles g(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double keep = x[i];
    x[i] = keep + step;
    const double up = f(x);
    x[i] = keep - step;
    const double down = f(x);
    x[i] = keep;
    g[i] = (up - down) / (2 * step);
  }
  return g;
}

}  // namespace zeroth::kernels::reference

// Inside of policy/: neighbouring experts of one layer on rows that are sorted by expert.
#pragma once

#include "kernels/operators.h"
#include "model/config.h"
#include "model/layout.h"
#include "policy/expert_exchange.h"
#include "policy/published.h"
#include "policy/weights.h"

namespace zeroth {

// Experts [first, first + offsets.size() - 1); rows offsets[i] .. offsets[i + 1] are of the i-th.
// n rows; w: the experts' width.
struct ExpertRun {
  const kernels::Operators& ops;
  const PolicyConfig& config;
  const LayerLayout& layout;
  const PublishedLayer& layer;
  int first;
  int64_t n;
  kernels::View<const int64_t> offsets;

  // gate_up [n, 2 w] of rows [n, width].
  void gate_up(kernels::At<const float> rows, kernels::At<float> gate_up) const;
  // out [n, width]; act [n, w] is left.
  void down(kernels::At<const float> gate_up, kernels::At<float> act, kernels::At<float> out) const;

  // Backward adds to `grads`, laid out like the parameters; `parts`: those of
  // kernels::grouped_backward_weight. First dgate_up [n, 2 w] (=), dweights (=) and the gradients of
  // what comes after the gate; act and dact [n, w] are left ...
  void down_backward(kernels::At<const float> dout, kernels::At<const float> gate_up,
                     kernels::At<float> act, kernels::At<float> dact, kernels::At<float> dgate_up,
                     const kernels::DeviceWeights& weights, kernels::At<float> grads,
                     kernels::View<const int64_t> parts) const;
  // ... then dx [n, width] (=), which may be `rows`, and the gradients of what comes before it.
  void gate_up_backward(kernels::At<const float> rows, kernels::At<const float> dgate_up,
                        kernels::At<float> dx, kernels::At<float> grads,
                        kernels::View<const int64_t> parts) const;
};

// Rows of other ranks by the experts that are here: those of `weights` with a place in its exchange.
// `rows` is of the own experts alone. Keeps its memory. Not thread safe.
class ExpertServer {
 public:
  void forward(const Weights& weights, const ExpertRows& rows, std::span<float> out);
  // As ExpertExchange::backward. What forward() had kept is computed again: the same bits, and no
  // rank keeps anything of another's rows.
  void backward(const Weights& weights, const ExpertGradientRows& rows, kernels::At<float> grads,
                std::span<float> dx, std::span<float> dweights);

 private:
  kernels::Staged<int64_t> offsets_, parts_;
  kernels::Staged<float> rows_, dout_, weights_;
  kernels::Array<float> gate_up_, act_, dact_, dgate_up_, out_, dweights_;
};

}  // namespace zeroth

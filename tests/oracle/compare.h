// Helpers of the oracle tests: tensors in, tolerance-aware comparison out.
#pragma once

#include <torch/torch.h>
// torch defines CHECK for its logging; doctest's is meant here.
#undef CHECK
#include <doctest/doctest.h>

namespace oracle {

inline float* data(const torch::Tensor& t) { return t.data_ptr<float>(); }

// Largest |a - b| relative to the largest |b| (at least 1e-6), so that one bound serves tensors of any scale.
inline double difference(const torch::Tensor& a, const torch::Tensor& b) {
  const double scale = std::max(1e-6, b.abs().max().item<double>());
  return (a.reshape(-1).to(torch::kDouble) - b.reshape(-1).to(torch::kDouble))
             .abs()
             .max()
             .item<double>() /
         scale;
}

inline torch::Tensor randn(torch::IntArrayRef shape) { return torch::randn(shape); }

}  // namespace oracle

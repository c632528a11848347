#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace zeroth::kernels::reference {

Doubles linear(std::span<const float> x, std::span<const float> w, std::span<const float> bias,
               int64_t m, int64_t out, int64_t in) {
  Doubles y(m * out);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < out; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < in; ++k) sum += double{x[i * in + k]} * w[j * in + k];
      y[i * out + j] = sum + (bias.empty() ? 0.0 : bias[j]);
    }
  return y;
}

Doubles product(std::span<const double> a, std::span<const double> b, int64_t m, int64_t k,
                int64_t n) {
  Doubles c(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += a[i * k + l] * b[l * n + j];
  return c;
}

Doubles transpose(std::span<const double> a, int64_t rows, int64_t columns) {
  Doubles t(a.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) t[j * rows + i] = a[i * columns + j];
  return t;
}

Doubles rms_norm(std::span<const double> x, std::span<const double> weight, double eps, int64_t m,
                 int64_t width) {
  Doubles y(x.size());
  for (int64_t i = 0; i < m; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < width; ++j) sum += x[i * width + j] * x[i * width + j];
    const double inv = 1 / std::sqrt(sum / static_cast<double>(width) + eps);
    for (int64_t j = 0; j < width; ++j) y[i * width + j] = x[i * width + j] * inv * weight[j];
  }
  return y;
}

Doubles swiglu(std::span<const double> gu, int64_t m, int64_t width, Gate function) {
  Doubles y(m * width);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) {
      const double g = gu[i * 2 * width + j];
      const double u = gu[i * 2 * width + width + j];
      const double tanh = std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g));
      const double limit = function.limit, least = std::min(g, limit);
      y[i * width + j] = function.kind == Gate::kGelu      ? g / 2 * (1 + tanh) * u
                         : function.kind == Gate::kSigmoid ? u / (1 + std::exp(-g))
                         : function.kind == Gate::kSilu
                             ? g / (1 + std::exp(-g)) * u
                             : least / (1 + std::exp(-function.alpha * least)) *
                                   (std::clamp(u, -limit, limit) + 1);
    }
  return y;
}

Doubles rope(std::span<const double> x, std::span<const double> cos, std::span<const double> sin,
             int64_t heads, int64_t dim, bool interleaved) {
  Doubles y(x.begin(), x.end());
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < dim / 2; ++i) {
      const int64_t a = h * dim + (interleaved ? 2 * i : i),
                    b = h * dim + (interleaved ? 2 * i + 1 : i + dim / 2);
      y[a] = x[a] * cos[i] - x[b] * sin[i];
      y[b] = x[b] * cos[i] + x[a] * sin[i];
    }
  return y;
}

Doubles softmax(std::span<const double> x) {
  const double top = *std::max_element(x.begin(), x.end());
  Doubles y(x.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += y[i] = std::exp(x[i] - top);
  for (double& p : y) p /= sum;
  return y;
}

Doubles Attention::operator()(std::span<const double> q, std::span<const double> k,
                              std::span<const double> v) const {
  Doubles out(length * heads * v_dim);
  for (int64_t row = 0; row < length; ++row)
    for (int h = 0; h < heads; ++h) {
      const int64_t kv = h / (heads / kv_heads),
                    first = window > 0 ? std::max<int64_t>(0, row - window + 1) : 0;
      Doubles scores(row + 1 - first);
      for (int64_t t = first; t <= row; ++t)
        for (int d = 0; d < k_dim; ++d)
          scores[t - first] +=
              scale * q[(row * heads + h) * k_dim + d] * k[(t * kv_heads + kv) * k_dim + d];
      const Doubles p = softmax(scores);
      for (int64_t t = first; t <= row; ++t)
        for (int d = 0; d < v_dim; ++d)
          out[(row * heads + h) * v_dim + d] += p[t - first] * v[(t * kv_heads + kv) * v_dim + d];
    }
  return out;
}

Route route(std::span<const double> logits, std::span<const double> bias,
            const RouterConfig& config) {
  Doubles scores = softmax(logits);
  if (config.sigmoid)
    std::transform(logits.begin(), logits.end(), scores.begin(),
                   [](double x) { return 1 / (1 + std::exp(-x)); });
  Doubles biased = scores;
  for (size_t e = 0; e < bias.size(); ++e) biased[e] += bias[e];
  const int size = config.experts / config.groups;
  std::vector<std::pair<double, int>> groups;  // negated score, so that ties go to the lowest index
  for (int g = 0; g < config.groups; ++g) {
    Doubles in(biased.begin() + g * size, biased.begin() + (g + 1) * size);
    std::sort(in.rbegin(), in.rend());
    groups.emplace_back(-(config.group_sum_top2 && size > 1 ? in[0] + in[1] : in[0]), g);
  }
  std::sort(groups.begin(), groups.end());
  std::vector<std::pair<double, int>> experts;
  for (int i = 0; i < config.top_groups; ++i)
    for (int e = groups[i].second * size; e < (groups[i].second + 1) * size; ++e)
      experts.emplace_back(-biased[e], e);
  std::sort(experts.begin(), experts.end());
  Route result;
  for (int i = 0; i < config.top_k; ++i) result.ids.push_back(experts[i].second);
  std::sort(result.ids.begin(), result.ids.end());
  double sum = config.sigmoid ? 1e-20 : 0;
  for (int id : result.ids) sum += scores[id];
  for (int id : result.ids)
    result.weights.push_back(config.scale * scores[id] / (config.normalize ? sum : 1));
  return result;
}

HeadRow head(std::span<const double> logits, double temperature, int32_t target, KeptSet kept) {
  std::vector<int32_t> ids(kept.begin(), kept.end());
  if (ids.empty()) {
    ids.resize(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
  }
  Doubles z;
  for (int32_t id : ids) z.push_back(logits[id] / temperature);
  const Doubles p = softmax(z);
  HeadRow row{std::numeric_limits<double>::quiet_NaN(), 0};
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] == target) row.logprob = std::log(p[i]);
    if (p[i] > 0) row.entropy -= p[i] * std::log(p[i]);
  }
  return row;
}

}  // namespace zeroth::kernels::reference

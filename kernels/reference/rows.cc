// Rows, routing, assembly and the optimizer.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/reference/plain.h"
#include "kernels/reference/reference.h"

namespace zeroth::kernels::plain {
namespace {

using reference::Doubles;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// A gate's function is x times the sigmoid of this, for x and up as clamped; its slope.
const double kLinear = 2 * std::sqrt(2 / std::numbers::pi), kCubic = 0.044715 * kLinear;
double inner(const Gate& function, double x) {
  return function.kind == Gate::kGelu ? kLinear * x + kCubic * x * x * x : function.alpha * x;
}
double inner_slope(const Gate& function, double x) {
  return function.kind == Gate::kGelu ? kLinear + 3 * kCubic * x * x : function.alpha;
}
struct GateRow {
  double gate, up;            // as they are multiplied
  bool gate_moves, up_moves;  // not clamped
  GateRow(const Gate& function, double g, double u)
      : gate(g), up(u), gate_moves(true), up_moves(true) {
    if (function.kind != Gate::kClamped) return;
    const double limit = function.limit;
    gate_moves = g <= limit;
    up_moves = std::abs(u) <= limit;
    gate = std::min(g, limit);
    up = std::clamp(u, -limit, limit) + 1;
  }
};

}  // namespace

void rms_norm(const float* x, int64_t ldx, const float* weight, float eps, float* y, int64_t ldy,
              float* inv_rms, int64_t m, int64_t width, int64_t heads, int64_t ldinv,
              bool plus_one) {
  if (ldinv == 0) ldinv = m;
  const double shift = plus_one ? 1 : 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const float* from = x + i * ldx + h * width;
      double squares = 0;
      for (int64_t j = 0; j < width; ++j) squares += double{from[j]} * from[j];
      const double inv = 1 / std::sqrt(squares / static_cast<double>(width) + eps);
      for (int64_t j = 0; j < width; ++j)
        y[i * ldy + h * width + j] = static_cast<float>(from[j] * inv * (shift + weight[j]));
      if (inv_rms) inv_rms[h * ldinv + i] = static_cast<float>(inv);
    }
}

void rms_norm_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                       const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                       float* dweight, int64_t m, int64_t width, bool accumulate, int64_t heads,
                       RowParts, bool plus_one) {
  Doubles sum(dweight, dweight + width);
  const double shift = plus_one ? 1 : 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const double inv = inv_rms[h * m + i];
      const float* from = x + i * ldx + h * width;
      const float* by = dy + i * lddy + h * width;
      float* to = dx + i * lddx + h * width;
      double mean = 0;
      for (int64_t j = 0; j < width; ++j) mean += by[j] * (shift + weight[j]) * from[j];
      mean /= static_cast<double>(width);
      for (int64_t j = 0; j < width; ++j) {
        sum[j] += by[j] * from[j] * inv;
        const double d = inv * (by[j] * (shift + weight[j]) - from[j] * inv * inv * mean);
        to[j] = static_cast<float>(accumulate ? to[j] + d : d);
      }
    }
  std::copy(sum.begin(), sum.end(), dweight);
}

void add(const float* a, const float* b, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}

void swiglu(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width,
            Gate function) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) {
      const GateRow of(function, gu[i * ldgu + j], gu[i * ldgu + width + j]);
      const double factor = function.kind == Gate::kSigmoid ? 1 : of.gate;
      y[i * ldy + j] = static_cast<float>(factor * sigmoid(inner(function, of.gate)) * of.up);
    }
}

void swiglu_backward(const float* dy, int64_t lddy, const float* gu, int64_t ldgu, float* dgu,
                     int64_t lddgu, int64_t m, int64_t width, float* act, const RowWeights& w,
                     Gate function) {
  for (int64_t i = 0; i < m; ++i) {
    const int64_t at = w.order ? w.order[i] : i;
    const double weight = w.weights ? w.weights[at] : 1.0;
    double product = 0;
    for (int64_t j = 0; j < width; ++j) {
      const GateRow of(function, gu[i * ldgu + j], gu[i * ldgu + width + j]);
      const double gate = of.gate, up = of.up, d = dy[i * lddy + j];
      const double s = sigmoid(inner(function, gate));
      const bool plain = function.kind == Gate::kSigmoid;
      const double factor = plain ? 1 : gate, y = factor * s * up;
      const double slope =
          plain ? s * (1 - s) : s * (1 + gate * (1 - s) * inner_slope(function, gate));
      product += y * d;
      dgu[i * lddgu + j] = of.gate_moves ? static_cast<float>(weight * d * up * slope) : 0.0f;
      dgu[i * lddgu + width + j] = of.up_moves ? static_cast<float>(weight * d * factor * s) : 0.0f;
      if (act) act[i * width + j] = static_cast<float>(weight * y);
    }
    if (act && w.dweights) w.dweights[at] = static_cast<float>(product);
  }
}

void rope(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions, const float* cos,
          const float* sin, int64_t m, int heads, int dim, bool interleaved, bool inverse) {
  for (int64_t i = 0; i < m; ++i)
    for (int h = 0; h < heads; ++h)
      for (int j = 0; j < dim / 2; ++j) {
        float* head = x + i * ldx + h * head_stride;
        float& a = head[interleaved ? 2 * j : j];
        float& b = head[interleaved ? 2 * j + 1 : j + dim / 2];
        const double c = cos[positions[i] * (dim / 2) + j];
        const double s = sin[positions[i] * (dim / 2) + j] * (inverse ? -1.0 : 1.0);
        const double first = a * c - b * s, second = b * c + a * s;
        a = static_cast<float>(first);
        b = static_cast<float>(second);
      }
}

// --- routing

void route(const float* logits, const float* bias, const RouterConfig& config, int32_t* ids,
           float* weights, float* scores, int64_t m) {
  const int64_t n = config.experts, k = config.top_k;
  for (int64_t i = 0; i < m; ++i) {
    const Doubles z(logits + i * n, logits + (i + 1) * n);
    const Doubles b(bias ? bias : logits, bias ? bias + n : logits);
    const reference::Route row = reference::route(z, b, config);
    const Doubles p = reference::softmax(z);
    for (int64_t e = 0; e < n; ++e)
      scores[i * n + e] = static_cast<float>(config.sigmoid ? sigmoid(z[e]) : p[e]);
    for (int64_t s = 0; s < k; ++s) {
      ids[i * k + s] = row.ids[s];
      weights[i * k + s] = static_cast<float>(row.weights[s]);
    }
  }
}

void weigh_choices(const float* scores, const int32_t* ids, const RouterConfig& config,
                   float* weights, int64_t m) {
  for (int64_t i = 0; i < m; ++i) {
    double sum = config.sigmoid ? 1e-20 : 0;
    for (int64_t s = i * config.top_k; s < (i + 1) * config.top_k; ++s)
      sum += scores[i * config.experts + ids[s]];
    for (int64_t s = i * config.top_k; s < (i + 1) * config.top_k; ++s) {
      const double score = scores[i * config.experts + ids[s]];
      weights[s] = static_cast<float>(config.scale * (config.normalize ? score / sum : score));
    }
  }
}

void route_backward(const float* dweights, const int32_t* ids, const float*, const float* scores,
                    const RouterConfig& config, float* dlogits, int64_t m) {
  const int64_t n = config.experts, k = config.top_k;
  for (int64_t i = 0; i < m; ++i) {
    const float* score = scores + i * n;
    double sum = config.sigmoid ? 1e-20 : 0, inner = 0;
    for (int64_t s = 0; s < k; ++s) {
      const double own = score[ids[i * k + s]];
      sum += own;
      inner += dweights[i * k + s] * config.scale * own;
    }
    Doubles dscore(n);  // weight = scale * score / sum, or scale * score
    for (int64_t s = 0; s < k; ++s) {
      const double d = double{dweights[i * k + s]} * config.scale;
      dscore[ids[i * k + s]] = config.normalize ? d / sum - inner / (sum * sum) : d;
    }
    double mean = 0;
    for (int64_t e = 0; e < n; ++e) mean += dscore[e] * score[e];
    for (int64_t e = 0; e < n; ++e)
      dlogits[i * n + e] = static_cast<float>(
          score[e] * (config.sigmoid ? dscore[e] * (1 - double{score[e]}) : dscore[e] - mean));
  }
}

void expert_sort(const int32_t* ids, int64_t m, int top_k, int experts, int64_t* offsets,
                 int32_t* order) {
  int64_t n = 0;
  for (int e = 0; e < experts; ++e) {
    offsets[e] = n;
    for (int64_t i = 0; i < m * top_k; ++i)
      if (ids[i] == e) order[n++] = static_cast<int32_t>(i);
  }
  offsets[experts] = n;
}

void choice_parts(std::span<const int64_t> offsets, std::span<const int32_t> order, int top_k,
                  RowParts parts, int64_t* begins) {
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    for (const int64_t part : parts) {
      int64_t at = offsets[e];
      while (at < offsets[e + 1] && order[at] < part * top_k) ++at;
      *begins++ = at;
    }
}

void gather_rows(const float* x, int64_t ldx, std::span<const int32_t> order, int top_k, float* out,
                 int64_t width) {
  for (size_t i = 0; i < order.size(); ++i)
    std::copy_n(x + order[i] / top_k * ldx, width, out + static_cast<int64_t>(i) * width);
}

void gather_rows_backward(const float* dout, std::span<const int32_t> order, int top_k, float* dx,
                          int64_t lddx, int64_t m, int64_t width, bool accumulate) {
  for (int64_t i = 0; i < m && !accumulate; ++i) std::fill_n(dx + i * lddx, width, 0.0f);
  for (size_t i = 0; i < order.size(); ++i)
    for (int64_t j = 0; j < width; ++j)
      dx[order[i] / top_k * lddx + j] += dout[static_cast<int64_t>(i) * width + j];
}

void combine(const float* y, std::span<const int32_t> order, const float* weights, int top_k,
             float* out, int64_t ldout, int64_t m, int64_t width) {
  for (int64_t j = 0; j < width; ++j) {
    Doubles sum(m);
    for (size_t i = 0; i < order.size(); ++i)
      sum[order[i] / top_k] += double{weights[order[i]]} * y[static_cast<int64_t>(i) * width + j];
    for (int64_t i = 0; i < m; ++i) out[i * ldout + j] = static_cast<float>(sum[i]);
  }
}

void add_sinks(const float* sinks, float* out, int64_t ldout, float* lse, int64_t m, int64_t heads,
               int64_t dim) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      const double own = lse[i * heads + h], sink = sinks[h], top = std::max(own, sink);
      const double all = top + std::log(std::exp(own - top) + std::exp(sink - top));
      float* y = out + i * ldout + h * dim;
      for (int64_t j = 0; j < dim; ++j) y[j] = static_cast<float>(y[j] * std::exp(own - all));
      lse[i * heads + h] = static_cast<float>(all);
    }
}

void add_sinks_backward(const float* sinks, const float* out, int64_t ldout, const float* lse,
                        const float* dout, int64_t lddout, float* dsinks, int64_t m, int64_t heads,
                        int64_t dim, RowParts) {
  for (int64_t h = 0; h < heads; ++h) {
    double sum = dsinks[h];
    for (int64_t i = 0; i < m; ++i) {
      double inner = 0;
      for (int64_t j = 0; j < dim; ++j)
        inner += double{dout[i * lddout + h * dim + j]} * out[i * ldout + h * dim + j];
      sum -= std::exp(double{sinks[h]} - lse[i * heads + h]) * inner;
    }
    dsinks[h] = static_cast<float>(sum);
  }
}

void add_group_bias(float* y, int64_t ldy, std::span<const int64_t> offsets, const float* bias,
                    int64_t width) {
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    for (int64_t i = offsets[e]; i < offsets[e + 1]; ++i)
      for (int64_t j = 0; j < width; ++j)
        y[i * ldy + j] += bias[static_cast<int64_t>(e) * width + j];
}

void group_bias_backward(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                         const float* bias, float* dbias, int64_t width, const RowWeights& w,
                         RowParts) {
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    const int64_t at = static_cast<int64_t>(e) * width;
    Doubles sum(dbias + at, dbias + at + width);
    for (int64_t i = offsets[e]; i < offsets[e + 1]; ++i) {
      const int64_t choice = w.order ? w.order[i] : i;
      double inner = 0;
      for (int64_t j = 0; j < width; ++j) {
        sum[j] += (w.weights ? w.weights[choice] : 1.0) * dy[i * lddy + j];
        inner += double{dy[i * lddy + j]} * bias[at + j];
      }
      if (w.dweights) w.dweights[choice] += static_cast<float>(inner);
    }
    std::copy(sum.begin(), sum.end(), dbias + at);
  }
}

void balance_backward(const RouterConfig& router, const float* scores, const float* aux,
                      float* dlogits, int64_t m) {
  const int64_t n = router.experts;
  for (int64_t i = 0; i < m; ++i) {
    const float* score = scores + i * n;
    double sum = 0, mean = 0;
    for (int64_t e = 0; e < n; ++e) sum += score[e];
    if (!router.sigmoid) sum = 1;
    for (int64_t e = 0; e < n; ++e) mean += aux[e] * score[e] / sum;
    for (int64_t e = 0; e < n; ++e) {
      const double slope = router.sigmoid ? (1 - double{score[e]}) / sum : 1;
      dlogits[i * n + e] += static_cast<float>((aux[e] - mean) * score[e] * slope);
    }
  }
}

// --- assembly

void zero_rows(float* x, int64_t ldx, int64_t m, int64_t width) {
  for (int64_t i = 0; i < m; ++i) std::fill_n(x + i * ldx, width, 0.0f);
}

void zero_pages(const KvPages& cache, std::span<const int32_t> pages) {
  for (int32_t page : pages) {
    std::fill_n(cache.k + page * cache.k_page(), cache.k_page(), 0.0f);
    if (!cache.values_in_keys) std::fill_n(cache.v + page * cache.v_page(), cache.v_page(), 0.0f);
  }
}

void copy_page(const KvPages& cache, int32_t from, int32_t to) {
  std::copy_n(cache.k + from * cache.k_page(), cache.k_page(), cache.k + to * cache.k_page());
  if (cache.values_in_keys) return;
  std::copy_n(cache.v + from * cache.v_page(), cache.v_page(), cache.v + to * cache.v_page());
}

void copy(const float* x, float* y, int64_t n) { std::copy_n(x, n, y); }

void count_up(int32_t* ids, int64_t m, int32_t step) {
  for (int64_t i = 0; i < m; ++i) ids[i] = static_cast<int32_t>(i) * step;
}

void clamp_rows(float* x, int64_t ldx, int64_t m, int64_t width, float bound) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j)
      x[i * ldx + j] = std::max(-bound, std::min(bound, x[i * ldx + j]));
}

void clamp_rows_backward(const float* clamped, int64_t ldx, float* dx, int64_t lddx, int64_t m,
                         int64_t width, float bound) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j)
      if (std::abs(clamped[i * ldx + j]) >= bound) dx[i * lddx + j] = 0;
}

void scale_rows(float* x, int64_t ldx, int64_t m, int64_t width, float factor) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) x[i * ldx + j] *= factor;
}

void take_rows(const float* x, int64_t ldx, std::span<const int32_t> rows, float* out,
               int64_t ldout, int64_t width) {
  for (size_t i = 0; i < rows.size(); ++i)
    std::copy_n(x + rows[i] * ldx, width, out + static_cast<int64_t>(i) * ldout);
}

void add_to_rows(const float* y, int64_t ldy, std::span<const int32_t> rows, float* x, int64_t ldx,
                 int64_t width) {
  for (size_t i = 0; i < rows.size(); ++i)
    for (int64_t j = 0; j < width; ++j)
      x[rows[i] * ldx + j] += y[static_cast<int64_t>(i) * ldy + j];
}

void expand_latent(const LatentHeads& w, const float* kv, const float* rope_part, int64_t ldr,
                   float* k, float* v, int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < w.heads; ++h) {
      const int64_t head = i * w.heads + h;
      for (int64_t j = 0; j < w.nope + w.rope; ++j)
        k[head * (w.nope + w.rope) + j] =
            j < w.nope ? kv[head * (w.nope + w.v) + j] : rope_part[i * ldr + j - w.nope];
      for (int64_t j = 0; j < w.v; ++j) v[head * w.v + j] = kv[head * (w.nope + w.v) + w.nope + j];
    }
}

void collapse_latent(const LatentHeads& w, const float* dk, const float* dv, float* dkv,
                     float* drope, int64_t ldr, int64_t m) {
  zero_rows(drope, ldr, m, w.rope);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t h = 0; h < w.heads; ++h) {
      const int64_t head = i * w.heads + h;
      for (int64_t j = 0; j < w.nope + w.v; ++j)
        dkv[head * (w.nope + w.v) + j] =
            j < w.nope ? dk[head * (w.nope + w.rope) + j] : dv[head * w.v + j - w.nope];
      for (int64_t j = 0; j < w.rope; ++j)
        drope[i * ldr + j] += dk[head * (w.nope + w.rope) + w.nope + j];
    }
}

// --- saved rows

namespace {

// f(place in an array, place in the saved row, bytes) for row i of m of every array that is of
// choices, or is not.
template <class F>
void each_piece(std::span<const SavedArray> arrays, int64_t i, int64_t m,
                std::span<const int32_t> order, int top_k, bool choices, const F& f) {
  int64_t at = 0;
  for (const SavedArray& a : arrays) {
    char* data = a.data.address();
    const bool of_choices = a.order == SavedOrder::kChoice;
    for (int64_t j = 0; a.order == SavedOrder::kColumn && !choices && j < a.bytes; j += 4)
      f(data + j * m + i * 4, at + j, int64_t{4});
    if (a.order == SavedOrder::kRow && !choices) f(data + i * a.bytes, at, a.bytes);
    for (size_t c = 0; of_choices && choices && c < order.size(); ++c)
      if (order[c] / top_k == i)
        f(data + static_cast<int64_t>(c) * a.bytes, at + order[c] % top_k * a.bytes, a.bytes);
    at += a.row_bytes(top_k);
  }
}

}  // namespace

void save_rows(std::span<const SavedArray> arrays, std::span<char* const> rows,
               std::span<const int32_t> order, int top_k) {
  for (size_t i = 0; i < rows.size(); ++i)
    for (const bool choices : {false, true})
      if (rows[i])
        each_piece(arrays, static_cast<int64_t>(i), static_cast<int64_t>(rows.size()), order, top_k,
                   choices, [&](const char* from, int64_t at, int64_t bytes) {
                     std::copy_n(from, bytes, rows[i] + at);
                   });
}

namespace {

void recall(std::span<const SavedArray> arrays, std::span<char* const> rows,
            std::span<const int32_t> order, int top_k, bool choices) {
  for (size_t i = 0; i < rows.size(); ++i)
    each_piece(arrays, static_cast<int64_t>(i), static_cast<int64_t>(rows.size()), order, top_k,
               choices,
               [&](char* to, int64_t at, int64_t bytes) { std::copy_n(rows[i] + at, bytes, to); });
}

}  // namespace

void recall_rows(std::span<const SavedArray> arrays, std::span<char* const> rows, int top_k) {
  recall(arrays, rows, {}, top_k, false);
}

void recall_choices(std::span<const SavedArray> arrays, std::span<char* const> rows,
                    std::span<const int32_t> order, int top_k) {
  recall(arrays, rows, order, top_k, true);
}

// --- the optimizer

double sum_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  return sum;
}

void adamw(float* w, const float* grad, float* m, float* v, int64_t n, const AdamWStep& step) {
  const auto t = static_cast<double>(step.step);
  for (int64_t i = 0; i < n; ++i) {
    const double g = double{grad[i]} * step.grad_scale;
    m[i] = static_cast<float>(step.beta1 * double{m[i]} + (1 - double{step.beta1}) * g);
    v[i] = static_cast<float>(step.beta2 * double{v[i]} + (1 - double{step.beta2}) * g * g);
    const double first = m[i] / (1 - std::pow(step.beta1, t));
    const double second = v[i] / (1 - std::pow(step.beta2, t));
    w[i] = static_cast<float>(w[i] * (1 - double{step.lr} * step.weight_decay) -
                              step.lr * first / (std::sqrt(second) + step.eps));
  }
}

}  // namespace zeroth::kernels::plain

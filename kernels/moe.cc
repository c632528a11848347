// Mixture of experts: routing, and the way of rows to experts and back.
#include <algorithm>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/ops.h"
#include "kernels/router_check.h"

namespace zeroth::kernels {
namespace {

constexpr int64_t kSmall = 16'384;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

int64_t rows_at_least(int64_t floats_per_row) {
  return std::max<int64_t>(1, kSmall / std::max<int64_t>(1, floats_per_row));
}

// Index of the largest entry that is not taken; ties go to the lowest index. NaN counts as the
// smallest. -1: none left.
int best(const float* values, const uint8_t* taken, int n) {
  int at = -1;
  for (int i = 0; i < n; ++i)
    if (!taken[i] &&
        (at < 0 || values[i] > values[at] || (values[at] != values[at] && values[i] == values[i])))
      at = i;
  return at;
}

struct RowScratch {
  std::vector<float> biased, group;
  std::vector<uint8_t> taken, group_taken;
};

// Marks the experts outside the best groups as taken.
void drop_groups(const RouterConfig& c, RowScratch& s) {
  const int size = c.experts / c.groups;
  for (int g = 0; g < c.groups; ++g) {
    float first = kNothing, second = kNothing;
    for (int i = g * size; i < (g + 1) * size; ++i) {
      if (s.biased[i] > first) {
        second = first;
        first = s.biased[i];
      } else if (s.biased[i] > second) {
        second = s.biased[i];
      }
    }
    s.group[g] = c.group_sum_top2 && size > 1 ? first + second : first;
    s.group_taken[g] = 0;
  }
  std::fill(s.taken.begin(), s.taken.end(), uint8_t{1});
  for (int i = 0; i < c.top_groups; ++i) {
    const int g = best(s.group.data(), s.group_taken.data(), c.groups);
    s.group_taken[g] = 1;
    std::fill_n(s.taken.begin() + g * size, size, uint8_t{0});
  }
}

void weigh_row(const float* scores, const int32_t* ids, const RouterConfig& c, float* weights) {
  float sum = 0;
  for (int i = 0; i < c.top_k; ++i) sum += scores[ids[i]];
  if (c.sigmoid) sum += 1e-20f;
  for (int i = 0; i < c.top_k; ++i) {
    const float weight = c.normalize ? scores[ids[i]] / sum : scores[ids[i]];
    weights[i] = weight * c.scale;
  }
}

void route_row(const float* scores, const float* bias, const RouterConfig& c, int32_t* ids,
               float* weights, RowScratch& s) {
  for (int e = 0; e < c.experts; ++e) s.biased[e] = bias ? scores[e] + bias[e] : scores[e];
  if (c.groups > 1) {
    drop_groups(c, s);
  } else {
    std::fill(s.taken.begin(), s.taken.end(), uint8_t{0});
  }
  for (int i = 0; i < c.top_k; ++i) {
    ids[i] = best(s.biased.data(), s.taken.data(), c.experts);
    s.taken[ids[i]] = 1;
  }
  std::sort(ids, ids + c.top_k);
  weigh_row(scores, ids, c, weights);
}

}  // namespace

void check_router(const RouterConfig& c) {
  if (c.experts < 1 || c.top_k < 1 || c.top_k > c.experts || c.groups < 1 ||
      c.experts % c.groups != 0 || c.top_groups < 1 || c.top_groups > c.groups ||
      c.top_k > c.experts / c.groups * c.top_groups) {
    fail("router with experts=" + std::to_string(c.experts) + " top_k=" + std::to_string(c.top_k) +
             " groups=" + std::to_string(c.groups) + " top_groups=" + std::to_string(c.top_groups),
         "top_k must fit in the chosen groups, and groups must divide experts");
  }
}

void route(const float* logits, const float* bias, const RouterConfig& config, int32_t* ids,
           float* weights, float* scores, int64_t m) {
  check_router(config);
  const Table& isa = table();
  const int64_t e = config.experts, k = config.top_k;
  parallel_for(m, rows_at_least(16 * e), [&](int64_t begin, int64_t end) {
    thread_local RowScratch scratch;
    scratch.biased.resize(e);
    scratch.taken.resize(e);
    scratch.group.resize(config.groups);
    scratch.group_taken.resize(config.groups);
    for (int64_t row = begin; row < end; ++row) {
      (config.sigmoid ? isa.sigmoid : isa.softmax)(logits + row * e, scores + row * e, e);
      route_row(scores + row * e, bias, config, ids + row * k, weights + row * k, scratch);
    }
  });
}

void weigh_choices(const float* scores, const int32_t* ids, const RouterConfig& config,
                   float* weights, int64_t m) {
  check_router(config);
  const int64_t e = config.experts, k = config.top_k;
  parallel_for(m, rows_at_least(8 * k), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      weigh_row(scores + row * e, ids + row * k, config, weights + row * k);
  });
}

void route_backward(const float* dweights, const int32_t* ids, const float* weights,
                    const float* scores, const RouterConfig& config, float* dlogits, int64_t m) {
  (void)weights;
  check_router(config);
  const int64_t e = config.experts, k = config.top_k;
  parallel_for(m, rows_at_least(8 * e), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* s = scores + row * e;
      const int32_t* id = ids + row * k;
      float* d = dlogits + row * e;
      std::fill_n(d, e, 0.0f);
      float sum = 0, inner = 0;
      for (int64_t i = 0; i < k; ++i) {
        sum += s[id[i]];
        inner += dweights[row * k + i] * config.scale * s[id[i]];
      }
      if (config.sigmoid) sum += 1e-20f;
      // d[expert] becomes the gradient of the expert's score first.
      for (int64_t i = 0; i < k; ++i) {
        const float g = dweights[row * k + i] * config.scale;
        d[id[i]] = config.normalize ? (g - inner / sum) / sum : g;
      }
      float mean = 0;  // <score, its gradient>: the part of softmax that every logit shares
      for (int64_t i = 0; i < k; ++i) mean += d[id[i]] * s[id[i]];
      for (int64_t j = 0; j < e; ++j)
        d[j] = config.sigmoid ? d[j] * s[j] * (1 - s[j]) : s[j] * (d[j] - mean);
    }
  });
}

void expert_sort(const int32_t* ids, int64_t m, int top_k, int experts, int64_t* offsets,
                 int32_t* order) {
  const int64_t n = m * top_k;
  std::fill_n(offsets, experts + 1, 0);
  for (int64_t i = 0; i < n; ++i) ++offsets[ids[i] + 1];
  for (int e = 0; e < experts; ++e) offsets[e + 1] += offsets[e];
  thread_local std::vector<int64_t> next;
  next.assign(offsets, offsets + experts);
  for (int64_t i = 0; i < n; ++i) order[next[ids[i]]++] = static_cast<int32_t>(i);
}

void choice_parts(std::span<const int64_t> offsets, std::span<const int32_t> order, int top_k,
                  RowParts parts, int64_t* begins) {
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    auto at = order.begin() + offsets[e];
    const auto end = order.begin() + offsets[e + 1];
    for (const int64_t part : parts) {
      at = std::lower_bound(at, end, part * top_k);
      *begins++ = at - order.begin();
    }
  }
}

namespace {

// place[choice] = index in `order`. The buffer lives until the thread's next call.
const int32_t* places(std::span<const int32_t> order) {
  thread_local std::vector<int32_t> place;
  place.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) place[order[i]] = static_cast<int32_t>(i);
  return place.data();
}

}  // namespace

void gather_rows(const float* x, int64_t ldx, std::span<const int32_t> order, int top_k, float* out,
                 int64_t width) {
  parallel_for(static_cast<int64_t>(order.size()), rows_at_least(width),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   std::copy_n(x + order[i] / top_k * ldx, width, out + i * width);
               });
}

void gather_rows_backward(const float* dout, std::span<const int32_t> order, int top_k, float* dx,
                          int64_t lddx, int64_t m, int64_t width, bool accumulate) {
  const Table& isa = table();
  const int32_t* place = places(order);
  parallel_for(m, rows_at_least(width * top_k), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int slot = 0; slot < top_k; ++slot)
        isa.axpy(1.0f, dout + int64_t{place[row * top_k + slot]} * width, dx + row * lddx, width,
                 accumulate || slot > 0);
  });
}

void combine(const float* y, std::span<const int32_t> order, const float* weights, int top_k,
             float* out, int64_t ldout, int64_t m, int64_t width) {
  const Table& isa = table();
  const int32_t* place = places(order);
  parallel_for(m, rows_at_least(width * top_k), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int slot = 0; slot < top_k; ++slot)
        isa.axpy(weights[row * top_k + slot], y + int64_t{place[row * top_k + slot]} * width,
                 out + row * ldout, width, slot > 0);
  });
}

void add_group_bias(float* y, int64_t ldy, std::span<const int64_t> offsets, const float* bias,
                    int64_t width) {
  const Table& isa = table();
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    const float* const of_group = bias + static_cast<int64_t>(e) * width;
    parallel_for(offsets[e + 1] - offsets[e], rows_at_least(width),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = offsets[e] + begin; i < offsets[e] + end; ++i)
                     isa.add(y + i * ldy, of_group, y + i * ldy, width);
                 });
  }
}

void group_bias_backward(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                         const float* bias, float* dbias, int64_t width, const RowWeights& w,
                         RowParts parts) {
  const Table& isa = table();
  const auto groups = static_cast<int64_t>(offsets.size()) - 1;
  const int64_t rows = groups > 0 ? offsets[groups] : 0;
  const auto choice = [&](int64_t row) { return w.order ? int64_t{w.order[row]} : row; };
  parallel_for(groups, 1, [&](int64_t begin, int64_t end) {
    std::vector<RowChunk> chunks;
    std::vector<float> sums(width);
    for (int64_t e = begin; e < end; ++e) {
      chunks.clear();
      cut_chunks(offsets[e], offsets[e + 1], parts, kReductionChunk, chunks);
      for (const RowChunk& chunk : chunks) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t row = chunk.begin; row < chunk.end; ++row) {
          const float weight = w.weights ? w.weights[choice(row)] : 1.0f;
          isa.axpy(weight, dy + row * lddy, sums.data(), width, true);
        }
        isa.add(dbias + e * width, sums.data(), dbias + e * width, width);
      }
    }
  });
  if (!w.dweights) return;
  parallel_for(rows, rows_at_least(width), [&](int64_t begin, int64_t end) {
    auto e = std::upper_bound(offsets.begin(), offsets.end(), begin) - offsets.begin() - 1;
    for (int64_t row = begin; row < end; ++row) {
      while (offsets[e + 1] <= row) ++e;
      w.dweights[choice(row)] += isa.dot(dy + row * lddy, bias + e * width, width);
    }
  });
}

}  // namespace zeroth::kernels

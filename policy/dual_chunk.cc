#include "policy/dual_chunk.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "core/parallel.h"

namespace zeroth {
namespace {

using namespace kernels;

// Own arithmetic, because the C library's last bits differ between processors.
double exp_of(double x) {  // x <= 0
  if (x < -700) return 0;
  constexpr double kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  const double n = std::nearbyint(x / (kLn2High + kLn2Low));
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = 1;
  for (int k = 13; k >= 1; --k) sum = 1 + sum * (r / k);
  return std::ldexp(sum, static_cast<int>(n));
}

double log_of(double x) {  // 1 <= x <= 3: 2 atanh((x - 1) / (x + 1))
  const double t = (x - 1) / (x + 1), t2 = t * t;
  double sum = 0;
  for (int k = 57; k >= 1; k -= 2) sum = sum * t2 + 1.0 / k;
  return 2 * t * sum;
}

}  // namespace

std::span<const int32_t> DualChunks::own_positions(const PolicyConfig& config,
                                                   std::span<const int32_t> positions) {
  own_.resize(positions.size());
  for (size_t i = 0; i < positions.size(); ++i) own_[i] = positions[i] % config.chunk_len;
  return own_;
}

void DualChunks::split(const PolicyConfig& config, const AttentionRows& rows) {
  const int32_t length = config.chunk_len, pages = length / kPageTokens;
  for (Part& part : parts_) part = {};
  // Sequences of a part: some chunks of one of the call's sequences.
  std::map<std::pair<int32_t, int32_t>, int32_t> known[kRegions];
  const auto add = [&](Region region, int32_t row, int32_t chunk, int32_t first_page,
                       int32_t position, int32_t delta) {
    Part& part = parts_[region];
    const int32_t sequence = rows.sequence[row];
    const auto next = static_cast<int32_t>(known[region].size());
    const auto [it, fresh] = known[region].try_emplace({sequence, chunk}, next);
    if (fresh) {
      part.page_begin.push_back(static_cast<int32_t>(part.page_table.size()));
      const int32_t begin = rows.page_begin[sequence] + first_page;
      const int32_t end = std::min(begin + (region == kOlder ? chunk - 1 : 1) * pages,
                                   rows.page_begin[sequence + 1]);
      part.page_table.insert(part.page_table.end(), rows.page_table.begin() + begin,
                             rows.page_table.begin() + end);
    }
    part.row.push_back(row);
    part.delta.push_back(delta);
    part.sequence.push_back(it->second);
    part.position.push_back(position);
  };
  for (size_t i = 0; i < rows.position.size(); ++i) {
    const auto row = static_cast<int32_t>(i);
    const int32_t chunk = rows.position[i] / length, own = rows.position[i] % length;
    add(kOwn, row, chunk, chunk * pages, own, 0);
    if (chunk >= 1) {
      const int32_t to = std::min(own + length, config.chunk_size);
      add(kBefore, row, chunk, (chunk - 1) * pages, length - 1, to - own);
    }
    if (chunk >= 2) {
      const int32_t to = std::min(2 * length - 1, config.chunk_size);
      add(kOlder, row, chunk, 0, (chunk - 1) * length - 1, to - own);
    }
  }
  for (Part& part : parts_) part.page_begin.push_back(static_cast<int32_t>(part.page_table.size()));
}

void DualChunks::gather_queries(const PolicyConfig& config, const Part& part, const float* cos,
                                const float* sin, const float* q, int64_t ldq) {
  const auto n = static_cast<int64_t>(part.row.size());
  const int64_t width = int64_t{config.heads} * config.head_dim;
  float* to = q_.get(n * width);
  parallel_for(n, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(to + i * width, q + part.row[i] * ldq, width * sizeof(float));
    }
  });
  rope(to, width, config.head_dim, part.delta.data(), cos, sin, n, config.heads, config.head_dim,
       config.rope.interleaved, false);
}

void DualChunks::forward(const PolicyConfig& config, const KvPages& cache,
                         const AttentionRows& rows, const float* cos, const float* sin,
                         const float* q, int64_t ldq, float* out, float* lse) {
  split(config, rows);
  const int64_t heads = config.heads, dim = cache.v_dim, width = heads * dim;
  const float scale = config.attention_scale();
  kernels::attention(q, ldq, cache, parts_[kOwn].view(), scale, config.heads, out, width, lse);
  for (const Region region : {kBefore, kOlder}) {
    const Part& part = parts_[region];
    const auto n = static_cast<int64_t>(part.row.size());
    if (n == 0) continue;
    gather_queries(config, part, cos, sin, q, ldq);
    float* part_out = out_[region].get(n * width);
    float* part_lse = lse_[region].get(n * heads);
    kernels::attention(q_.data(), heads * config.head_dim, cache, part.view(), scale, config.heads,
                       part_out, width, part_lse);
    // A part's share of the softmax is exp(its log-sum-exp - the common one).
    parallel_for(n * heads, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = part.row[i / heads], head = i % heads;
        float& total = lse[row * heads + head];
        const double a = total, b = part_lse[i], largest = std::max(a, b);
        const double common = largest + log_of(exp_of(a - largest) + exp_of(b - largest));
        const auto keep = static_cast<float>(exp_of(a - common));
        const auto take = static_cast<float>(exp_of(b - common));
        float* y = out + row * width + head * dim;
        const float* x = part_out + i * dim;
        for (int64_t j = 0; j < dim; ++j) y[j] = keep * y[j] + take * x[j];
        total = static_cast<float>(common);
      }
    });
  }
}

// exp(score - common log-sum-exp) is every key's weight whatever its part, so the standard backward
// with the common output and log-sum-exp gives each part's gradients.
void DualChunks::backward(const PolicyConfig& config, const KvPages& cache,
                          const AttentionRows& rows, const float* cos, const float* sin,
                          const float* q, int64_t ldq, const float* out, const float* lse,
                          const float* dout, float* dq, int64_t lddq, const KvPages& dcache) {
  split(config, rows);
  const int64_t heads = config.heads, width = heads * cache.v_dim;
  const int64_t q_width = heads * config.head_dim;
  const float scale = config.attention_scale();
  attention_backward(q, ldq, cache, parts_[kOwn].view(), scale, config.heads, out, width, lse, dout,
                     width, dq, lddq, dcache);
  for (const Region region : {kBefore, kOlder}) {
    const Part& part = parts_[region];
    const auto n = static_cast<int64_t>(part.row.size());
    if (n == 0) continue;
    gather_queries(config, part, cos, sin, q, ldq);
    float* part_out = out_[region].get(n * width);
    float* part_lse = lse_[region].get(n * heads);
    float* part_dout = dout_.get(n * width);
    float* part_dq = dq_.get(n * q_width);
    parallel_for(n, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = part.row[i];
        std::memcpy(part_out + i * width, out + row * width, width * sizeof(float));
        std::memcpy(part_dout + i * width, dout + row * width, width * sizeof(float));
        std::memcpy(part_lse + i * heads, lse + row * heads, heads * sizeof(float));
      }
    });
    attention_backward(q_.data(), q_width, cache, part.view(), scale, config.heads, part_out, width,
                       part_lse, part_dout, width, part_dq, q_width, dcache);
    rope(part_dq, q_width, config.head_dim, part.delta.data(), cos, sin, n, config.heads,
         config.head_dim, config.rope.interleaved, true);
    parallel_for(n, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* to = dq + part.row[i] * lddq;
        for (int64_t j = 0; j < q_width; ++j) to[j] += part_dq[i * q_width + j];
      }
    });
  }
}

}  // namespace zeroth

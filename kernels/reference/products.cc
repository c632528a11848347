// Packed weights, products, embeddings and the head.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/reference/plain.h"
#include "kernels/reference/reference.h"

namespace zeroth::kernels::plain {

namespace {

// Matrices are row-major floats, rounded when they are published as bfloat16.
const float* row(const PackedMatrix& w, int64_t i) { return w.memory().address() + i * w.in(); }

float widened(Bfloat16 x) { return std::bit_cast<float>(uint32_t{x} << 16); }

// To the nearest bfloat16, to even between two.
float rounded(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return widened(static_cast<Bfloat16>(std::isnan(x) ? (bits >> 16) | 0x40
                                                     : (bits + 0x7fff + (bits >> 16 & 1)) >> 16));
}

// y = x W^T + bias, rows of `m`.
void multiply(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
              int64_t ldy, int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < w.out(); ++j) {
      double sum = bias ? bias[j] : 0.0;
      for (int64_t k = 0; k < w.in(); ++k) sum += double{x[i * ldx + k]} * row(w, j)[k];
      y[i * ldy + j] = static_cast<float>(sum);
    }
}

void add_outer(const float* dy, int64_t lddy, const float* x, int64_t ldx, float* dw, int64_t lddw,
               int64_t m, int64_t out, int64_t in) {
  for (int64_t j = 0; j < out; ++j)
    for (int64_t k = 0; k < in; ++k) {
      double sum = dw[j * lddw + k];
      for (int64_t i = 0; i < m; ++i) sum += double{dy[i * lddy + j]} * x[i * ldx + k];
      dw[j * lddw + k] = static_cast<float>(sum);
    }
}

}  // namespace

int64_t packed_floats(int64_t out, int64_t in, Element) { return out * in; }

void pack_rows(PackedMatrix& w, int64_t first, int64_t rows, const float* from, int64_t ld) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < w.in(); ++j) {
      const float x = from[i * ld + j];
      w.memory().address()[(first + i) * w.in() + j] =
          w.element() == Element::kFloat32 ? x : rounded(x);
    }
}

void unpack_rows(const PackedMatrix& w, int64_t first, int64_t rows, float* to) {
  std::copy_n(row(w, first), rows * w.in(), to);
}

void linear(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy, int64_t m, const FetchList&) {
  multiply(x, ldx, w, bias, y, ldy, m);
}

void grouped_linear(const float* x, int64_t ldx, std::span<const int64_t> offsets,
                    PackedMatrices weights, float* y, int64_t ldy) {
  for (size_t g = 0; g < weights.size(); ++g)
    multiply(x + offsets[g] * ldx, ldx, *weights[g], nullptr, y + offsets[g] * ldy, ldy,
             offsets[g + 1] - offsets[g]);
}

void linear_backward_input(const float* dy, int64_t lddy, const PackedMatrix& w, float* dx,
                           int64_t lddx, int64_t m, bool accumulate) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t k = 0; k < w.in(); ++k) {
      double sum = accumulate ? dx[i * lddx + k] : 0.0;
      for (int64_t j = 0; j < w.out(); ++j) sum += double{dy[i * lddy + j]} * row(w, j)[k];
      dx[i * lddx + k] = static_cast<float>(sum);
    }
}

void linear_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx, float* dw,
                            int64_t lddw, float* dbias, int64_t m, int64_t out, int64_t in,
                            RowParts) {
  add_outer(dy, lddy, x, ldx, dw, lddw, m, out, in);
  for (int64_t j = 0; dbias && j < out; ++j)
    for (int64_t i = 0; i < m; ++i) dbias[j] += dy[i * lddy + j];
}

void grouped_backward_input(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                            PackedMatrices w, float* dx, int64_t lddx) {
  for (size_t g = 0; g < w.size(); ++g)
    plain::linear_backward_input(dy + offsets[g] * lddy, lddy, *w[g], dx + offsets[g] * lddx, lddx,
                                 offsets[g + 1] - offsets[g], false);
}

void grouped_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                             std::span<const int64_t> offsets, std::span<float* const> dw,
                             int64_t out, int64_t in, RowParts) {
  for (size_t g = 0; g < dw.size(); ++g)
    add_outer(dy + offsets[g] * lddy, lddy, x + offsets[g] * ldx, ldx, dw[g], in,
              offsets[g + 1] - offsets[g], out, in);
}

void embedding(const EmbeddingTable& table, int64_t width, const int32_t* ids, float* out,
               int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) {
      const int64_t at = ids[i] * width + j;
      out[i * width + j] = table.packed   ? row(*table.packed, ids[i])[j]
                           : table.halves ? widened(table.halves.address()[at])
                                          : table.floats.address()[at];
    }
}

void embedding_backward(const float* dy, const int32_t* ids, float* dtable, int64_t m,
                        int64_t width, int64_t) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) dtable[ids[i] * width + j] += dy[i * width + j];
}

// --- the head

namespace {

using reference::Doubles;

double capped(double logit, double cap) { return cap > 0 ? cap * std::tanh(logit / cap) : logit; }

Doubles logits_of(const float* hidden, const PackedMatrix& w, double cap) {
  Doubles z(w.out());
  for (int64_t j = 0; j < w.out(); ++j) {
    for (int64_t k = 0; k < w.in(); ++k) z[j] += double{hidden[k]} * row(w, j)[k];
    z[j] = capped(z[j], cap);
  }
  return z;
}

double positive(float temperature) { return temperature > 0 ? temperature : 1.0; }

}  // namespace

void head_logits(const float* hidden, int64_t ld, const PackedMatrix& w, float* logits, int64_t m,
                 float cap) {
  multiply(hidden, ld, w, nullptr, logits, w.out(), m);
  for (int64_t i = 0; i < m * w.out(); ++i) logits[i] = static_cast<float>(capped(logits[i], cap));
}

void head_logprobs(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, float* logprob,
                   float* entropy, float* lse, int64_t m, float cap) {
  for (int64_t i = 0; i < m; ++i) {
    const Doubles z = logits_of(hidden + i * ld, w, cap);
    const double t = positive(temperature[i]);
    const reference::HeadRow row =
        reference::head(z, t, target[i], kept.empty() ? KeptSet() : kept[i]);
    logprob[i] = static_cast<float>(row.logprob);
    if (entropy) entropy[i] = static_cast<float>(row.entropy);
    if (lse) lse[i] = static_cast<float>(z[target[i]] / t - row.logprob);
  }
}

void head_sample(const float* hidden, int64_t ld, const PackedMatrix& w, const SampleParams* params,
                 const StreamKey* key, const uint32_t* position, int32_t* token, float* logprob,
                 float* entropy, std::vector<int32_t>* kept_out, int64_t m, float cap) {
  for (int64_t i = 0; i < m; ++i) {
    const SampleParams& p = params[i];
    const Doubles z = logits_of(hidden + i * ld, w, cap);
    const double t = positive(p.temperature);
    std::vector<int32_t> ids(z.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(), [&](int a, int b) { return z[a] > z[b]; });
    const int32_t best = ids[0];
    const bool greedy = p.temperature <= 0, truncated = p.truncated() && !greedy;
    const auto weight = [&](int32_t id) { return std::exp((z[id] - z[best]) / t); };
    if (truncated) {
      if (p.top_k > 0) ids.resize(std::min<size_t>(p.top_k, ids.size()));
      double total = 0, mass = 0;
      for (int32_t id : ids) total += weight(id);
      size_t n = 0;
      while (n < ids.size() && (p.top_p >= 1 || mass < double{p.top_p} * total || n == 0))
        mass += weight(ids[n++]);
      ids.resize(n);
      std::erase_if(ids, [&](int32_t id) { return id != best && weight(id) < double{p.min_p}; });
    }
    std::sort(ids.begin(), ids.end());
    token[i] = best;
    if (!greedy) {
      double total = 0, sum = 0;
      for (int32_t id : ids) total += weight(id);
      const double until = random_uniform(key[i], position[i]) * total;
      for (int32_t id : ids) {
        token[i] = id;
        if ((sum += weight(id)) > until) break;
      }
    }
    const KeptSet kept = truncated ? KeptSet(ids) : KeptSet();
    const reference::HeadRow row = reference::head(z, t, token[i], kept);
    logprob[i] = static_cast<float>(row.logprob);
    if (entropy) entropy[i] = static_cast<float>(row.entropy);
    if (kept_out) kept_out[i].assign(kept.begin(), kept.end());
  }
}

void head_backward(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, const float* dlogprob,
                   const float* dentropy, float* dhidden, int64_t lddh, float* dw, int64_t m,
                   RowParts, float cap) {
  const int64_t width = w.in();
  for (int64_t i = 0; i < m; ++i) {
    const Doubles z = logits_of(hidden + i * ld, w, cap);
    const double t = positive(temperature[i]), de = dentropy ? dentropy[i] : 0.0;
    std::vector<int32_t> ids(w.out());
    std::iota(ids.begin(), ids.end(), 0);
    if (!kept.empty() && !kept[i].empty()) ids.assign(kept[i].begin(), kept[i].end());
    Doubles some;
    for (int32_t id : ids) some.push_back(z[id] / t);
    const Doubles p = reference::softmax(some);
    double entropy = 0;
    for (double x : p) entropy -= x > 0 ? x * std::log(x) : 0;
    std::vector<float> dlogits(w.out());
    for (size_t j = 0; j < ids.size(); ++j) {
      const double own = ids[j] == target[i] ? 1 : 0;
      const double slope = p[j] > 0 ? -p[j] * (std::log(p[j]) + entropy) : 0;
      const double inside = cap > 0 ? 1 - z[ids[j]] / cap * (z[ids[j]] / cap) : 1;
      dlogits[ids[j]] = static_cast<float>((dlogprob[i] * (own - p[j]) + de * slope) / t * inside);
    }
    plain::linear_backward_input(dlogits.data(), w.out(), w, dhidden + i * lddh, lddh, 1, false);
    if (dw) add_outer(dlogits.data(), w.out(), hidden + i * ld, ld, dw, width, 1, w.out(), width);
  }
}

}  // namespace zeroth::kernels::plain

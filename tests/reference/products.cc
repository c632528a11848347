// A second back end for the operators of kernels/ops.h, in plain loops over doubles: packed weights,
// products, embeddings and the head. A program that is linked with it computes whole models by it
// (tests/reference/tests.cmake).
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/head.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace zeroth::kernels {

// Row-major floats, rounded when they are published as bfloat16.
struct PackedMatrix::Impl {
  int64_t out = 0, in = 0;
  Element element = Element::kFloat32;
  float* memory = nullptr;
  std::vector<float> own;
  const float* row(int64_t i) const { return memory + i * in; }
};

PackedMatrix::PackedMatrix() : impl_(std::make_unique<Impl>()) {}
PackedMatrix::~PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&&) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&&) noexcept = default;
int64_t PackedMatrix::out() const { return impl_->out; }
int64_t PackedMatrix::in() const { return impl_->in; }
Element PackedMatrix::element() const { return impl_->element; }
int64_t PackedMatrix::packed_floats(int64_t out, int64_t in, Element) { return out * in; }

void PackedMatrix::resize(int64_t out, int64_t in, float* memory, Element element) {
  impl_->out = out;
  impl_->in = in;
  impl_->element = element;
  if (!memory) impl_->own.resize(out * in);
  impl_->memory = memory ? memory : impl_->own.data();
}

void PackedMatrix::pack_rows(int64_t first, int64_t rows, const float* w, int64_t ldw) {
  for (int64_t i = 0; i < rows; ++i) {
    float* to = impl_->memory + (first + i) * impl_->in;
    std::copy_n(w + i * ldw, impl_->in, to);
    if (impl_->element == Element::kFloat32) continue;
    std::vector<Bfloat16> halves(impl_->in);
    narrow(to, halves.data(), impl_->in);
    widen(halves.data(), to, impl_->in);
  }
}

void PackedMatrix::pack(const float* w, int64_t out, int64_t in, int64_t ldw, Element element) {
  resize(out, in, nullptr, element);
  pack_rows(0, out, w, ldw);
}

void widen(const Bfloat16* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::bit_cast<float>(uint32_t{x[i]} << 16);
}

void narrow(const float* x, Bfloat16* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<uint32_t>(x[i]);
    y[i] = static_cast<Bfloat16>(std::isnan(x[i]) ? (bits >> 16) | 0x40
                                                  : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
}

namespace {

// y = x W^T + bias, rows of `m`.
void multiply(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
              int64_t ldy, int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < w.out(); ++j) {
      double sum = bias ? bias[j] : 0.0;
      for (int64_t k = 0; k < w.in(); ++k) sum += double{x[i * ldx + k]} * w.impl()->row(j)[k];
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

void linear(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy, int64_t m, const FetchList&) {
  multiply(x, ldx, w, bias, y, ldy, m);
}

void grouped_linear(const float* x, int64_t ldx, std::span<const int64_t> offsets,
                    std::span<const PackedMatrix* const> weights, float* y, int64_t ldy) {
  for (size_t g = 0; g < weights.size(); ++g)
    multiply(x + offsets[g] * ldx, ldx, *weights[g], nullptr, y + offsets[g] * ldy, ldy,
             offsets[g + 1] - offsets[g]);
}

void linear_backward_input(const float* dy, int64_t lddy, const PackedMatrix& w, float* dx,
                           int64_t lddx, int64_t m, bool accumulate) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t k = 0; k < w.in(); ++k) {
      double sum = accumulate ? dx[i * lddx + k] : 0.0;
      for (int64_t j = 0; j < w.out(); ++j) sum += double{dy[i * lddy + j]} * w.impl()->row(j)[k];
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
                            std::span<const PackedMatrix* const> w, float* dx, int64_t lddx) {
  for (size_t g = 0; g < w.size(); ++g)
    linear_backward_input(dy + offsets[g] * lddy, lddy, *w[g], dx + offsets[g] * lddx, lddx,
                          offsets[g + 1] - offsets[g], false);
}

void grouped_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                             std::span<const int64_t> offsets, std::span<float* const> dw,
                             int64_t out, int64_t in, RowParts) {
  for (size_t g = 0; g < dw.size(); ++g)
    add_outer(dy + offsets[g] * lddy, lddy, x + offsets[g] * ldx, ldx, dw[g], in,
              offsets[g + 1] - offsets[g], out, in);
}

void embedding(const float* table, int64_t width, const int32_t* ids, float* out, int64_t m) {
  for (int64_t i = 0; i < m; ++i) std::copy_n(table + ids[i] * width, width, out + i * width);
}

void embedding(const Bfloat16* table, int64_t width, const int32_t* ids, float* out, int64_t m) {
  for (int64_t i = 0; i < m; ++i) widen(table + ids[i] * width, out + i * width, width);
}

void embedding(const PackedMatrix& table, const int32_t* ids, float* out, int64_t m) {
  for (int64_t i = 0; i < m; ++i)
    std::copy_n(table.impl()->row(ids[i]), table.in(), out + i * table.in());
}

void embedding_backward(const float* dy, const int32_t* ids, float* dtable, int64_t m,
                        int64_t width, int64_t) {
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < width; ++j) dtable[ids[i] * width + j] += dy[i * width + j];
}

// --- the head

namespace {

using reference::Doubles;

Doubles logits_of(const float* hidden, const PackedMatrix& w) {
  Doubles z(w.out());
  for (int64_t j = 0; j < w.out(); ++j)
    for (int64_t k = 0; k < w.in(); ++k) z[j] += double{hidden[k]} * w.impl()->row(j)[k];
  return z;
}

double positive(float temperature) { return temperature > 0 ? temperature : 1.0; }

}  // namespace

void head_logits(const float* hidden, int64_t ld, const PackedMatrix& w, float* logits, int64_t m) {
  multiply(hidden, ld, w, nullptr, logits, w.out(), m);
}

void head_logprobs(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, float* logprob,
                   float* entropy, float* lse, int64_t m) {
  for (int64_t i = 0; i < m; ++i) {
    const Doubles z = logits_of(hidden + i * ld, w);
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
                 float* entropy, std::vector<int32_t>* kept_out, int64_t m) {
  for (int64_t i = 0; i < m; ++i) {
    const SampleParams& p = params[i];
    const Doubles z = logits_of(hidden + i * ld, w);
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
                   RowParts) {
  const int64_t width = w.in();
  for (int64_t i = 0; i < m; ++i) {
    const Doubles z = logits_of(hidden + i * ld, w);
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
      dlogits[ids[j]] = static_cast<float>((dlogprob[i] * (own - p[j]) + de * slope) / t);
    }
    linear_backward_input(dlogits.data(), w.out(), w, dhidden + i * lddh, lddh, 1, false);
    if (dw) add_outer(dlogits.data(), w.out(), hidden + i * ld, ld, dw, width, 1, w.out(), width);
  }
}

}  // namespace zeroth::kernels

// The head (kernels/head.h) of the back end: logits of a tile of rows at a time.
#include <algorithm>

#include "kernels/cuda/gpu_operators.h"
#include "kernels/cuda/head.h"
#include "kernels/head_rows.h"

namespace zeroth::kernels::cuda {
namespace {

// Rows whose logits exist at a time.
int64_t rows_at_a_time(int64_t vocab, int64_t tile_floats) {
  return std::max<int64_t>(1, tile_floats / std::max<int64_t>(1, vocab));
}

// Tiles of logits in one piece of memory.
class Tiles {
 public:
  Tiles(Call& call, At<const float> hidden, int64_t ld, const PackedMatrix& w, int64_t rows,
        float cap)
      : call_(call), hidden_(hidden), ld_(ld), w_(w), ldl_((w.out() + 15) / 16 * 16), cap_(cap) {
    logits_ = call.space<float>(rows * ldl_);
    space_ = call.product_space(rows, w.out(), w.in());
  }
  // Logits of rows [begin, begin + count).
  LogitRows compute(int64_t begin, int64_t count) {
    linear(call_.stream(), hidden_.address() + begin * ld_, ld_, weights_of(w_), nullptr, logits_,
           ldl_, count, space_);
    const LogitRows rows{logits_, ldl_, w_.out(), count, cap_};
    if (cap_ > 0) softcap(call_.stream(), rows);
    return rows;
  }

 private:
  Call& call_;
  const At<const float> hidden_;
  const int64_t ld_;
  const PackedMatrix& w_;
  const int64_t ldl_;
  const float cap_;
  float* logits_ = nullptr;
  Workspace space_;
};

// Targets, temperatures and kept sets where kernels find them.
struct Targets {
  const int32_t* target;
  const float* temperature;
  KeptRows kept;

  Targets(Call& call, const int32_t* targets, const float* temperatures,
          std::span<const KeptSet> sets, int64_t vocab, int64_t m)
      : target(call.stage(targets, m)), temperature(call.stage(temperatures, m)) {
    std::vector<int32_t> count;
    for (int64_t i = 0; i < m; ++i) {
      const KeptSet ids = sets.empty() ? KeptSet() : sets[i];
      check_head_row(ids, targets[i], vocab, i);
      count.push_back(static_cast<int32_t>(ids.size()));
      kept.ld = std::max(kept.ld, static_cast<int64_t>(ids.size()));
    }
    if (kept.ld == 0) return;
    std::vector<int32_t> ids(static_cast<size_t>(m * kept.ld), 0);
    for (int64_t i = 0; i < m; ++i) {
      std::copy(sets[i].begin(), sets[i].end(), ids.begin() + i * kept.ld);
    }
    kept.ids = call.stage(ids);
    kept.count = call.stage(count);
  }
  KeptRows kept_from(int64_t row) const {
    if (!kept.ids) return {};
    return {kept.ids + row * kept.ld, kept.count + row, kept.ld};
  }
};

}  // namespace

void GpuOperators::head_logprobs(At<const float> hidden, int64_t ld, const PackedMatrix& w,
                                 const int32_t* target, const float* temperature,
                                 std::span<const KeptSet> kept, float* logprob, float* entropy,
                                 float* lse, int64_t m, float cap) const {
  if (m == 0) return;
  Call call(device_);
  const Targets targets(call, target, temperature, kept, w.out(), m);
  const int64_t rows = std::min(m, rows_at_a_time(w.out(), tile_floats_));
  Tiles tiles(call, hidden, ld, w, rows, cap);
  float* const logprobs = call.space<float>(m);
  float* const entropies = entropy ? call.space<float>(m) : nullptr;
  float* const sums = lse ? call.space<float>(m) : nullptr;
  for (int64_t at = 0; at < m; at += rows) {
    const LogitRows logits = tiles.compute(at, std::min(rows, m - at));
    cuda::head_logprobs(call.stream(), logits, targets.target + at, targets.temperature + at,
                        targets.kept_from(at), logprobs + at, entropy ? entropies + at : nullptr,
                        lse ? sums + at : nullptr);
  }
  call.bring(logprob, logprobs, m);
  if (entropy) call.bring(entropy, entropies, m);
  if (lse) call.bring(lse, sums, m);
  call.wait();
}

void GpuOperators::head_sample(At<const float> hidden, int64_t ld, const PackedMatrix& w,
                               const SampleParams* params, const StreamKey* key,
                               const uint32_t* position, int32_t* token, float* logprob,
                               float* entropy, std::vector<int32_t>* kept_out, int64_t m,
                               float cap) const {
  if (m == 0) return;
  Call call(device_);
  const int64_t vocab = w.out(), rows = std::min(m, rows_at_a_time(vocab, tile_floats_));
  const bool truncates = std::any_of(
      params, params + m, [](const SampleParams& p) { return p.truncated() && p.temperature > 0; });
  Tiles tiles(call, hidden, ld, w, rows, cap);
  const SampleParams* const p = call.stage(params, m);
  const StreamKey* const keys = call.stage(key, m);
  const uint32_t* const positions = call.stage(position, m);
  int32_t* const tokens = call.space<int32_t>(m);
  float* const logprobs = call.space<float>(m);
  float* const entropies = entropy ? call.space<float>(m) : nullptr;
  KeptRows kept;
  if (truncates) {
    kept = {call.space<int32_t>(rows * vocab), call.space<int32_t>(rows), vocab};
  }
  std::vector<int32_t> counts(static_cast<size_t>(rows), 0);
  for (int64_t at = 0; at < m; at += rows) {
    const LogitRows logits = tiles.compute(at, std::min(rows, m - at));
    cuda::head_sample(call.stream(), logits, p + at, keys + at, positions + at, tokens + at,
                      logprobs + at, entropy ? entropies + at : nullptr, kept);
    if (!kept_out) continue;
    if (truncates) {
      call.bring(counts.data(), kept.count, logits.m);
      call.wait();
    }
    for (int64_t i = 0; i < logits.m; ++i) {
      std::vector<int32_t>& ids = kept_out[at + i];
      ids.resize(static_cast<size_t>(counts[i]));
      if (counts[i] > 0) call.bring(ids.data(), kept.ids + i * vocab, counts[i]);
    }
  }
  call.bring(token, tokens, m);
  call.bring(logprob, logprobs, m);
  if (entropy) call.bring(entropy, entropies, m);
  call.wait();
}

void GpuOperators::head_backward(At<const float> hidden, int64_t ld, const PackedMatrix& w,
                                 const int32_t* target, const float* temperature,
                                 std::span<const KeptSet> kept, const float* dlogprob,
                                 const float* dentropy, At<float> dhidden, int64_t lddh,
                                 At<float> dw, int64_t m, RowParts parts, float cap) const {
  if (m == 0) return;
  Call call(device_);
  const int64_t vocab = w.out(), width = w.in();
  const Targets targets(call, target, temperature, kept, vocab, m);
  const float* const dl = call.stage(dlogprob, m);
  const float* const de = dentropy ? call.stage(dentropy, m) : nullptr;
  // A tile holds whole chunks, as many as fit.
  const int64_t chunk = head_chunk_rows(vocab);
  const int64_t rows = std::min(m, std::max(chunk, rows_at_a_time(vocab, tile_floats_)));
  std::vector<RowChunk> chunks;
  cut_chunks(0, m, parts, chunk, chunks);
  Tiles tiles(call, hidden, ld, w, rows, cap);
  for (size_t i = 0; i < chunks.size();) {
    const int64_t begin = chunks[i].begin;
    std::vector<int64_t> begins;  // of the tile's chunks, in the tile
    int64_t end = begin;
    for (; i < chunks.size() && chunks[i].end - begin <= rows; ++i) {
      begins.push_back(chunks[i].begin - begin);
      end = chunks[i].end;
    }
    const LogitRows logits = tiles.compute(begin, end - begin);
    cuda::head_gradient(call.stream(), logits, targets.target + begin, targets.temperature + begin,
                        targets.kept_from(begin), dl + begin, de ? de + begin : nullptr);
    cuda::linear_backward_input(call.stream(), logits.logits, logits.ld, weights_of(w),
                                dhidden.address() + begin * lddh, lddh, logits.m, false);
    if (!dw) continue;
    cuda::linear_backward_weight(call.stream(), logits.logits, logits.ld,
                                 hidden.address() + begin * ld, ld, dw.address(), width, nullptr,
                                 vocab, width, call.parts(begins, logits.m));
  }
}

void GpuOperators::head_logits(At<const float> hidden, int64_t ld, const PackedMatrix& w,
                               At<float> logits, int64_t m, float cap) const {
  if (m == 0) return;
  Call call(device_);
  cuda::linear(call.stream(), hidden.address(), ld, weights_of(w), nullptr, logits.address(),
               w.out(), m, call.product_space(m, w.out(), w.in()));
  if (cap > 0) softcap(call.stream(), {logits.address(), w.out(), w.out(), m, cap});
}

}  // namespace zeroth::kernels::cuda

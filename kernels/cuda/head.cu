#include "kernels/cuda/head.h"

#include <string>

#include "core/error.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/truncation.cuh"

namespace zeroth::kernels::cuda {
namespace {

// Temperature 0 means greedy; its log-probs are those at temperature 1.
ZEROTH_DEVICE float inverse(float temperature) {
  return temperature > 0 ? div(1.0f, temperature) : 1.0f;
}

ZEROTH_DEVICE LogitRow row_of(const LogitRows& rows, const KeptRows& kept, int64_t i, float scale) {
  const int count = kept.ids ? kept.count[i] : 0;
  return {rows.logits + i * rows.ld, count > 0 ? kept.ids + i * kept.ld : nullptr,
          count > 0 ? count : static_cast<int>(rows.vocab), scale};
}

__global__ void __launch_bounds__(kHeadThreads)
    logprobs_kernel(const LogitRows rows, const int32_t* target, const float* temperature,
                    const KeptRows kept, float* logprob, float* entropy, float* lse) {
  ZEROTH_SHARED(HeadShared, shared);
  const int64_t i = blockIdx.x;
  const LogitRow row = row_of(rows, kept, i, inverse(temperature[i]));
  const RowNumbers n = row_statistics(row, *shared);
  if (head_thread() != 0) return;
  logprob[i] = sub(mul(row.logits[target[i]], row.scale), n.lse);
  if (entropy) entropy[i] = n.entropy;
  if (lse) lse[i] = n.lse;
}

// The most likely id.
ZEROTH_DEVICE int most_likely(const LogitRow& row, HeadShared& s) {
  float top = -infinity();
  int at = row.n;
  for (int i = head_thread(); i < row.n; i += kHeadThreads) {
    if (row.logits[i] > top || at == row.n) {
      top = row.logits[i];
      at = i;
    }
  }
  const float largest = largest_of_block(top, s);
  int least = top == largest ? at : row.n;
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const int other = __shfl_xor_sync(kAllLanes, least, step);
    if (other < least) least = other;
  }
  __syncthreads();
  if (head_thread() % kWarp == 0) s.count[head_thread() / kWarp] = least;
  __syncthreads();
  for (int w = 0; w < kHeadThreads / kWarp; ++w) {
    if (s.count[w] < least) least = s.count[w];
  }
  return least < row.n ? least : 0;
}

__global__ void __launch_bounds__(kHeadThreads)
    sample_kernel(const LogitRows rows, const SampleParams* params, const StreamKey* key,
                  const uint32_t* position, int32_t* token, float* logprob, float* entropy,
                  const KeptRows kept) {
  ZEROTH_SHARED(HeadShared, shared);
  auto* const numbers = reinterpret_cast<uint64_t*>(shared + 1);
  auto* const sums = reinterpret_cast<float*>(numbers + kSorted);
  const int64_t i = blockIdx.x;
  const SampleParams p = params[i];
  const bool greedy = p.temperature <= 0;
  const bool truncated = !greedy && (p.top_k > 0 || p.top_p < 1 || p.min_p > 0);
  LogitRow row = row_of(rows, {}, i, inverse(p.temperature));
  const LogitRow all = row;
  if (kept.ids) {
    int32_t* const ids = kept.ids + i * kept.ld;
    const int count = truncated ? keep(row, p, ids, numbers, *shared) : 0;
    if (head_thread() == 0) kept.count[i] = count;
    if (count > 0) row = {row.logits, ids, count, row.scale};
  }
  const RowNumbers n = row_statistics(row, *shared);
  int drawn = 0;
  if (greedy) {
    drawn = most_likely(all, *shared);
  } else {
    sum_blocks(row, n.largest, sums);
  }
  if (head_thread() != 0) return;
  if (!greedy) {
    drawn = find_in_row(row, n.largest, sums, uniform_of(key[i], position[i]));
    if (row.ids) drawn = row.ids[drawn];
  }
  token[i] = drawn;
  logprob[i] = sub(mul(row.logits[drawn], row.scale), n.lse);
  if (entropy) entropy[i] = n.entropy;
}

__global__ void __launch_bounds__(kThreads) softcap_kernel(const LogitRows rows) {
  const int64_t i = element();
  if (i >= rows.m * rows.vocab) return;
  float* const z = rows.logits + i / rows.vocab * rows.ld + i % rows.vocab;
  const float by = div(2.0f, rows.cap), twice = mul(2.0f, rows.cap);
  *z = fma(twice, sigmoid(mul(*z, by)), -rows.cap);
}

// Whether the id is one of the row's.
ZEROTH_DEVICE bool holds(const LogitRow& row, int id) {
  if (!row.ids) return true;
  int low = 0, high = row.n;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (row.ids[middle] <= id) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return row.ids[low] == id;
}

// d logprob[target] / dz = [target] - p; d entropy / dz = -p (log p + entropy); z = scale * logit.
__global__ void __launch_bounds__(kHeadThreads)
    gradient_kernel(const LogitRows rows, const int32_t* target, const float* temperature,
                    const KeptRows kept, const float* dlogprob, const float* dentropy) {
  ZEROTH_SHARED(HeadShared, shared);
  const int64_t i = blockIdx.x;
  const LogitRow row = row_of(rows, kept, i, inverse(temperature[i]));
  const RowNumbers n = row_statistics(row, *shared);
  const float dl = dlogprob[i], de = dentropy ? dentropy[i] : 0.0f;
  float* const logits = rows.logits + i * rows.ld;
  for (int id = head_thread(); id < static_cast<int>(rows.vocab); id += kHeadThreads) {
    float gradient = 0.0f;
    if (holds(row, id)) {
      const float log_p = sub(mul(logits[id], row.scale), n.lse);
      const float g = fma(de, add(log_p, n.entropy), dl);  // -(gradient) / p
      gradient = mul(mul(sub(0.0f, exp(log_p)), g), row.scale);
    }
    if (id == target[i]) gradient = add(gradient, mul(dl, row.scale));
    if (rows.cap > 0) {  // times 1 - tanh^2
      const float t = mul(logits[id], div(1.0f, rows.cap));
      gradient = mul(gradient, fma(-t, t, 1.0f));
    }
    logits[id] = gradient;
  }
}

}  // namespace

void softcap(Stream stream, const LogitRows& rows) {
  launch(stream, softcap_kernel, blocks(rows.m * rows.vocab), kThreads, 0, rows);
}

void head_logprobs(Stream stream, const LogitRows& rows, const int32_t* target,
                   const float* temperature, const KeptRows& kept, float* logprob, float* entropy,
                   float* lse) {
  launch(stream, logprobs_kernel, {rows.m}, kHeadThreads, sizeof(HeadShared), rows, target,
         temperature, kept, logprob, entropy, lse);
}

void head_sample(Stream stream, const LogitRows& rows, const SampleParams* params,
                 const StreamKey* key, const uint32_t* position, int32_t* token, float* logprob,
                 float* entropy, const KeptRows& kept) {
  const size_t bytes =
      sizeof(HeadShared) + kSorted * sizeof(uint64_t) +
      static_cast<size_t>((rows.vocab + kBlockIds - 1) / kBlockIds) * sizeof(float);
  if (bytes > kMostShared) {
    fail("a vocabulary of " + std::to_string(rows.vocab) + " ids is more than the GPU samples from",
         "sample this model on the CPU");
  }
  launch(stream, sample_kernel, {rows.m}, kHeadThreads, bytes, rows, params, key, position, token,
         logprob, entropy, kept);
}

void head_gradient(Stream stream, const LogitRows& rows, const int32_t* target,
                   const float* temperature, const KeptRows& kept, const float* dlogprob,
                   const float* dentropy) {
  launch(stream, gradient_kernel, {rows.m}, kHeadThreads, sizeof(HeadShared), rows, target,
         temperature, kept, dlogprob, dentropy);
}

}  // namespace zeroth::kernels::cuda

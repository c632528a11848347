#include "cuda_planted.h"

#include "kernels/cuda/arithmetic.cuh"

namespace zeroth::kernels::planted {
namespace {

using namespace zeroth::kernels::cuda;
using fibers::Array;

// Every block adds up n values: warps by shuffles, then thread 0 what they left in shared memory.
template <int kPlant>
__global__ void reduce(const float* x, float* out, float* twice, int n) {
  ZEROTH_SHARED(float, partial);
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp;
  const int threads = static_cast<int>(blockDim.x), warps = threads / kWarp;
  float sum = 0.0f;
  const int first = kPlant == kReadBeforeBegin ? t - 1 : t;
  const int end = kPlant == kReadPastEnd ? n + 1 : n;
  for (int i = first; i < end; i += threads) sum = add(sum, x[i]);
  if (kPlant == kShuffleHalfMissing && lane >= 16) return;
  const uint32_t mask = kPlant == kShuffleMaskWithoutSelf ? 0x0000ffffu : kAllLanes;
  for (int d = 16; d > 0; d /= 2) sum = add(sum, __shfl_xor_sync(mask, sum, d));
  if (lane == 0 && !(kPlant == kUnwrittenShared && t == kWarp)) {
    partial[t / kWarp + (kPlant == kSharedOverrun ? 1 : 0)] = sum;
  }
  if (kPlant == kBarrierTwoPlaces && t < kWarp) {
    __syncthreads();
  } else if (kPlant != kNoBarrierBeforeRead) {
    __syncthreads();
  }
  if (t == 0) {
    float total = 0.0f;
    for (int w = 0; w < warps; ++w) total = add(total, partial[w]);
    const int at = static_cast<int>(blockIdx.x);
    out[kPlant == kBlocksWriteOnePlace ? 0 : kPlant == kWritePastEnd ? at + 1 : at] = total;
    if (kPlant == kBlockReadsAnothers) twice[at] = out[1];
  }
  if (kPlant == kBarrierSomeSkip && t >= 7 * kWarp) return;
  if (kPlant != kNoBarrierBeforeWrite) __syncthreads();
  if (lane == 1) partial[t / kWarp] = 0.0f;  // for whoever uses it next
  if (kPlant == kNoEnd) {
    for (;;) __syncthreads();
  }
}

template <int kPlant>
std::vector<float> reduction() {
  const std::vector<float> ones(1000, 1.0f);
  Array<float> x(ones), out(2), twice(2);
  const Array<float> unwritten(1000);
  const float* from = x.data();
  if (kPlant == kUnwrittenInput) from = unwritten.data();
  if (kPlant == kHostPointer) from = ones.data();
  if (kPlant == kFreedMemory) fibers::release(x.data());
  const Grid grid = kPlant == kGridTooHigh ? Grid{1, 70'000, 1} : Grid{2, 1, 1};
  const int threads = kPlant == kTooManyThreads ? 1056 : 256;
  const size_t shared = kPlant == kTooMuchShared ? 228 * 1024 + 1 : 8 * sizeof(float);
  launch(nullptr, reduce<kPlant>, grid, threads, shared, from, out.data(), twice.data(), 1000);
  return out.host();
}

// Two stages of 512 floats go through shared memory by asynchronous copies of 16 bytes; a warp
// turns its piece of them.
template <int kPlant>
__global__ void stage(const float* x, float* out) {
  ZEROTH_SHARED(float, stages);  // [2][512]
  const int t = static_cast<int>(threadIdx.x);
  const auto copy = [&](int s) {
    const int shift = kPlant == kAsyncMisaligned ? 1 : 0;
    __pipeline_memcpy_async(stages + s * 512 + t * 4, x + s * 512 + t * 4 + shift, 16);
    __pipeline_commit();
  };
  copy(0);
  copy(1);
  for (int s = 0; s < 2; ++s) {
    const int left = s == 0 ? 1 : 0;
    if (kPlant == kAsyncWaitsForTooFew) {
      __pipeline_wait_prior(left + 1);
    } else if (kPlant != kAsyncNotWaited && kPlant != kAsyncReadTooEarly) {
      __pipeline_wait_prior(left);
    }
    __syncthreads();
    if (kPlant == kAsyncNotWaited) {
      out[s * 512 + t] = 0.0f;
      continue;
    }
    if (kPlant == kVectorMisaligned) {
      const float4 v = load_four(stages + s * 512 + (t * 4 + 1) % 508);
      out[s * 512 + t] = v.x;
      continue;
    }
    for (int i = t; i < 512; i += 128) out[s * 512 + i] = stages[s * 512 + (i + 17) % 512];
  }
  // Lanes hand a value on through shared memory of their warp.
  __syncthreads();
  float* const of_warp = stages + t / kWarp * kWarp;
  of_warp[t % kWarp] = static_cast<float>(t);
  if (kPlant != kNoWarpBarrier) __syncwarp();
  if (of_warp[(t + 1) % kWarp] < 0.0f) out[0] = 0.0f;
  if (kPlant == kAsyncReadTooEarly) __pipeline_wait_prior(0);
}

template <int kPlant>
std::vector<float> staging() {
  std::vector<float> numbers(1056);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
  const Array<float> x(numbers), out(1024);
  launch(nullptr, stage<kPlant>, {1, 1, 1}, 128, 1024 * sizeof(float), x.data(), out.data());
  return out.host();
}

template <int kPlant>
__global__ void count_threads(int* counter, float* total) {
  if (kPlant == kCounterNotAtomic) {
    *counter = *counter + 1;
  } else {
    atomicAdd(counter, 1);
  }
  if (kPlant == kTotalNotAtomic) *total = add(*total, static_cast<float>(blockIdx.x));
}

template <int kPlant>
std::vector<float> counting() {
  const Array<int> counter(std::vector<int>{0});
  const Array<float> total(std::vector<float>{0});
  launch(nullptr, count_threads<kPlant>, {4, 1, 1}, 512, 0, counter.data(), total.data());
  return {static_cast<float>(*counter.data())};
}

using Run = std::vector<float> (*)();
template <int... k>
constexpr Run reduction_of(int plant, std::integer_sequence<int, k...>) {
  constexpr Run all[] = {reduction<k>...};
  return all[plant];
}

}  // namespace

std::vector<float> run_reduction(Plant plant) {
  return reduction_of(plant, std::make_integer_sequence<int, kCount>())();
}

std::vector<float> run_staging(Plant plant) {
  switch (plant) {
    case kAsyncNotWaited:
      return staging<kAsyncNotWaited>();
    case kAsyncReadTooEarly:
      return staging<kAsyncReadTooEarly>();
    case kAsyncWaitsForTooFew:
      return staging<kAsyncWaitsForTooFew>();
    case kAsyncMisaligned:
      return staging<kAsyncMisaligned>();
    case kVectorMisaligned:
      return staging<kVectorMisaligned>();
    case kNoWarpBarrier:
      return staging<kNoWarpBarrier>();
    default:
      return staging<kNone>();
  }
}

std::vector<float> run_counting(Plant plant) {
  switch (plant) {
    case kCounterNotAtomic:
      return counting<kCounterNotAtomic>();
    case kTotalNotAtomic:
      return counting<kTotalNotAtomic>();
    default:
      return counting<kNone>();
  }
}

}  // namespace zeroth::kernels::planted

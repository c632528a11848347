// A row of logits, which a block has: statistics and the inverse of the cumulative sum.
#pragma once

#include "core/rng.h"
#include "kernels/cuda/arithmetic.cuh"

namespace zeroth::kernels::cuda {

inline constexpr int kHeadThreads = 256;
inline constexpr int kPieceLogits = 1024;  // that pass through shared memory at a time
inline constexpr int kChains = 64;         // sums of a row: four accumulators of sixteen lanes
inline constexpr int kBlockIds = 64;       // of a block of the cumulative sum

// The logits that count, in ascending order of ids: all of them, or n chosen ones.
struct LogitRow {
  const float* logits;
  const int32_t* ids;  // null: all
  int n;
  float scale;
  ZEROTH_DEVICE float logit(int i) const { return logits[ids ? ids[i] : i]; }
  ZEROTH_DEVICE float z(int i) const { return mul(logit(i), scale); }
};
struct RowNumbers {
  float largest, lse, entropy;
};

// What the threads of a block share while they are at a row.
struct HeadShared {
  float e[kPieceLogits], d[kPieceLogits];
  float chain[2][kChains];
  float warp[kHeadThreads / kWarp];
  int count[kHeadThreads / kWarp];
  RowNumbers row;
  double total;
  int found;
  uint64_t key;
};

ZEROTH_DEVICE int head_thread() { return static_cast<int>(threadIdx.x); }

// The largest value of all threads; none is NaN.
ZEROTH_DEVICE float largest_of_block(float x, HeadShared& s) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    x = larger(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  __syncthreads();
  if (head_thread() % kWarp == 0) s.warp[head_thread() / kWarp] = x;
  __syncthreads();
  for (int w = 0; w < kHeadThreads / kWarp; ++w) x = larger(s.warp[w], x);
  return x;
}
ZEROTH_DEVICE int sum_of_block(int x, HeadShared& s) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  __syncthreads();
  if (head_thread() % kWarp == 0) s.count[head_thread() / kWarp] = x;
  __syncthreads();
  int sum = 0;
  for (int w = 0; w < kHeadThreads / kWarp; ++w) sum += s.count[w];
  return sum;
}

// All threads call it, and get the row's numbers. Exponentials are computed by all threads; 64 of
// them add a chain each.
ZEROTH_DEVICE RowNumbers row_statistics(const LogitRow& row, HeadShared& s) {
  const int t = head_thread();
  float top = -infinity();
  for (int i = t; i < row.n; i += kHeadThreads) top = larger(row.z(i), top);
  top = largest_of_block(top, s);
  float sum = 0.0f, moment = 0.0f;
  for (int base = 0; base < row.n; base += kPieceLogits) {
    const int count = row.n - base < kPieceLogits ? row.n - base : kPieceLogits;
    for (int i = t; i < count; i += kHeadThreads) {
      s.d[i] = sub(row.z(base + i), top);
      s.e[i] = exp_bounded(s.d[i]);
    }
    __syncthreads();
    for (int i = t; t < kChains && i < count; i += kChains) {
      sum = add(sum, s.e[i]);
      moment = fma(s.e[i], s.d[i], moment);
    }
    __syncthreads();
  }
  if (t < kChains) {
    s.chain[0][t] = sum;
    s.chain[1][t] = moment;
  }
  __syncthreads();
  if (t < kWarp) {
    const float total = sum_chains(s.chain[0][t], s.chain[0][t + kWarp]);
    const float first_moment = sum_chains(s.chain[1][t], s.chain[1][t + kWarp]);
    const float log_total = log(total);
    if (t == 0) {
      s.row = {top, add(top, log_total), sub(log_total, div(first_moment, total))};
    }
  }
  __syncthreads();
  return s.row;
}

// The weight of a draw.
ZEROTH_DEVICE float weight_of(const LogitRow& row, int i, float largest) {
  return exp(sub(row.z(i), largest));
}

// sums [(n + 63) / 64]: of blocks of 64 ids, by lanes and the tree. Half a warp a block.
ZEROTH_DEVICE void sum_blocks(const LogitRow& row, float largest, float* sums) {
  constexpr int kAtOnce = kHeadThreads / kLanes;
  const int lane = head_thread() % kLanes, blocks = (row.n + kBlockIds - 1) / kBlockIds;
  for (int base = 0; base < blocks; base += kAtOnce) {
    const int block = base + head_thread() / kLanes;
    float sum = 0.0f;
    for (int i = 0; i < kBlockIds; i += kLanes) {
      const int id = block * kBlockIds + i + lane;
      // A vector that the row does not reach is not added at all; absent lanes of one are +0.
      if (block * kBlockIds + i < row.n) {
        sum = add(sum, id < row.n ? weight_of(row, id, largest) : 0.0f);
      }
    }
    sum = sum_lanes(sum);
    if (lane == 0 && block < blocks) sums[block] = sum;
  }
  __syncthreads();
}

// Where the cumulative sum exceeds uniform * total: for one thread.
ZEROTH_DEVICE int find_in_row(const LogitRow& row, float largest, const float* sums,
                              float uniform) {
  const int blocks = (row.n + kBlockIds - 1) / kBlockIds;
  double total = 0;
  for (int b = 0; b < blocks; ++b) total = add(total, static_cast<double>(sums[b]));
  const double target = mul(static_cast<double>(uniform), total);
  total = 0;
  for (int b = 0; b < blocks; ++b) {
    const double next = add(total, static_cast<double>(sums[b]));
    if (target < next) {
      const int begin = b * kBlockIds;
      const int end = begin + kBlockIds < row.n ? begin + kBlockIds : row.n;
      for (int i = begin; i < end; ++i) {
        total = add(total, static_cast<double>(weight_of(row, i, largest)));
        if (target < total) return i;
      }
      // The block's tree rounded up: its last possible id takes the difference.
      for (int i = end - 1; i >= begin; --i) {
        if (weight_of(row, i, largest) > 0) return i;
      }
    }
    total = next;
  }
  for (int i = row.n - 1; i > 0; --i) {
    if (weight_of(row, i, largest) > 0) return i;
  }
  return 0;
}

// core/rng.h's random_uniform: Philox4x32-10, 24 bits.
ZEROTH_DEVICE float uniform_of(const StreamKey& key, uint32_t position) {
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  uint32_t c0 = position, c1 = key.sample, c2 = key.problem, c3 = key.step;
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return mul(static_cast<float>(c0 >> 8), 0x1.0p-24f);
}

}  // namespace zeroth::kernels::cuda

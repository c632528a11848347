// Which ids a truncated sampler keeps. Ids are ordered by likelihood: the larger logit first, equal
// ones by the lower id. That order is a number of 64 bits, so a set of the most likely is
// everything from a number on, which is found bit by bit by counting.
#pragma once

#include "kernels/cuda/head_row.cuh"
#include "kernels/head.h"

namespace zeroth::kernels::cuda {

inline constexpr int kSorted = 512;  // ids that are sorted at a time

ZEROTH_DEVICE uint64_t likelihood(float logit, int id) {
  const uint32_t bits = logit == 0.0f ? 0u : bits_of(logit);  // -0 is as large as +0
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | (0xffffffffu - static_cast<uint32_t>(id));
}
ZEROTH_DEVICE uint64_t likelihood(const LogitRow& row, int id) {
  return likelihood(row.logits[id], id);
}

// The number from which on the `count` most likely ids stand (1 <= count <= n).
ZEROTH_DEVICE uint64_t from_which_on(const LogitRow& row, int count, HeadShared& s) {
  uint64_t from = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const uint64_t with = from | uint64_t{1} << bit;
    if (bit < 32 && (static_cast<uint32_t>(row.n - 1) >> bit) == 0) {
      from = with;  // ids are smaller than this bit: all numbers have it
      continue;
    }
    int least = 0;
    for (int i = head_thread(); i < row.n; i += kHeadThreads) {
      least += likelihood(row, i) >= with ? 1 : 0;
    }
    if (sum_of_block(least, s) >= count) from = with;
  }
  return from;
}

// *total = the sum of the weights of ids from this number on, in ascending order of ids.
ZEROTH_DEVICE void sum_in_order(const LogitRow& row, float largest, uint64_t from, HeadShared& s) {
  double total = 0;
  for (int base = 0; base < row.n; base += kPieceLogits) {
    const int count = row.n - base < kPieceLogits ? row.n - base : kPieceLogits;
    for (int i = head_thread(); i < count; i += kHeadThreads) {
      const bool kept = likelihood(row, base + i) >= from;
      s.e[i] = kept ? weight_of(row, base + i, largest) : 0.0f;
    }
    __syncthreads();
    for (int i = 0; head_thread() == 0 && i < count; ++i) {
      total = add(total, static_cast<double>(s.e[i]));
    }
    __syncthreads();
  }
  if (head_thread() == 0) s.total = total;
  __syncthreads();
}

// Numbers in descending order; there are kSorted of them.
ZEROTH_DEVICE void sort_numbers(uint64_t* numbers) {
  for (int size = 2; size <= kSorted; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      const int i = head_thread() / step * 2 * step + head_thread() % step, j = i + step;
      const bool descending = (i & size) == 0;
      const uint64_t a = numbers[i], b = numbers[j];
      if ((a < b) == descending) {
        numbers[i] = b;
        numbers[j] = a;
      }
      __syncthreads();
    }
  }
}
static_assert(kSorted == 2 * kHeadThreads);

// The number from which on the shortest prefix of the ids from `first` on stands (`ids` of them)
// whose weights reach top_p of their sum.
ZEROTH_DEVICE uint64_t from_mass_on(const LogitRow& row, float largest, uint64_t first, int ids,
                                    float top_p, uint64_t* numbers, HeadShared& s) {
  sum_in_order(row, largest, first, s);
  const double wanted = mul(static_cast<double>(top_p), s.total);
  double mass = 0;                // thread 0's
  uint64_t above = ~uint64_t{0};  // numbers from here on have been added
  for (int done = 0; done < ids; done += kSorted) {
    const uint64_t from = ids - done > kSorted ? from_which_on(row, done + kSorted, s) : first;
    __syncthreads();
    for (int i = head_thread(); i < kSorted; i += kHeadThreads) numbers[i] = 0;
    if (head_thread() == 0) {
      s.found = 0;
      s.key = 0;
    }
    __syncthreads();
    for (int i = head_thread(); i < row.n; i += kHeadThreads) {
      const uint64_t number = likelihood(row, i);
      if (number >= from && number < above) numbers[atomicAdd(&s.found, 1)] = number;
    }
    __syncthreads();
    sort_numbers(numbers);
    if (head_thread() == 0) {
      for (int i = 0; i < s.found; ++i) {
        const int id = static_cast<int>(0xffffffffu - static_cast<uint32_t>(numbers[i]));
        mass = add(mass, static_cast<double>(weight_of(row, id, largest)));
        if (mass < wanted) continue;
        s.key = numbers[i];
        break;
      }
    }
    __syncthreads();
    if (s.key != 0) return s.key;
    above = from;
  }
  return first;
}

// Writes the ids that top-k, then top-p, then min-p keep, ascending; returns how many.
ZEROTH_DEVICE int keep(const LogitRow& row, const SampleParams& p, int32_t* kept, uint64_t* numbers,
                       HeadShared& s) {
  const bool cut = p.top_k > 0 && p.top_k < row.n;
  uint64_t from = cut ? from_which_on(row, p.top_k, s) : 0;
  const float largest = row_statistics(row, s).largest;
  if (p.top_p < 1) {
    from = from_mass_on(row, largest, from, cut ? p.top_k : row.n, p.top_p, numbers, s);
  }
  const float least = p.min_p < 1.0f ? p.min_p : 1.0f;
  const int t = head_thread(), lane = t % kWarp, warp = t / kWarp;
  int at = 0;
  for (int base = 0; base < row.n; base += kHeadThreads) {
    const int id = base + t;
    bool stays = id < row.n && likelihood(row, id) >= from;
    if (stays && p.min_p > 0) stays = !(weight_of(row, id, largest) < least);
    const uint32_t found = __ballot_sync(kAllLanes, stays);
    __syncthreads();
    if (lane == 0) s.count[warp] = __popc(found);
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < kHeadThreads / kWarp; ++w) {
      if (w < warp) before += s.count[w];
      all += s.count[w];
    }
    if (stays) kept[at + before + __popc(found & ((1u << lane) - 1))] = id;
    at += all;
  }
  __syncthreads();
  return at;
}

}  // namespace zeroth::kernels::cuda

// What a kernel's text finds under g++ instead of CUDA's own header: the words of the language and
// the functions that kernels of this folder use, over fibers.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cuda/fibers/fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

namespace zeroth::fibers {

// Of the thread that asks; indices count from 0.
Index3 thread_index();
Index3 block_index();
Index3 block_size();
Index3 grid_size();
char* shared_memory();

void sync_block(int line);
void sync_warp(uint32_t mask, int line);
// The value of lane `from`; a thread's own where that is no lane of the mask.
uint64_t exchange(uint32_t mask, uint64_t value, int from, int line);
uint32_t vote(uint32_t mask, bool yes, int line);
int lane();
int atomic_add(int* at, int by);
void copy_async(void* to, const void* from, int bytes);
void commit_copies();
void wait_for_copies(int groups_left);
// Checks that a vector of so many bytes may lie there.
void check_alignment(const void* at, int bytes);

template <class T>
T shuffle(uint32_t mask, T value, int from, int line) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, from, line);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace zeroth::fibers

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

#define threadIdx (::zeroth::fibers::thread_index())
#define blockIdx (::zeroth::fibers::block_index())
#define blockDim (::zeroth::fibers::block_size())
#define gridDim (::zeroth::fibers::grid_size())
#define __syncthreads() ::zeroth::fibers::sync_block(__LINE__)
#define __syncwarp() ::zeroth::fibers::sync_warp(0xffffffffu, __LINE__)
#define __shfl_sync(mask, value, lane) ::zeroth::fibers::shuffle(mask, value, lane, __LINE__)
#define __shfl_xor_sync(mask, value, bits) \
  ::zeroth::fibers::shuffle(mask, value, ::zeroth::fibers::lane() ^ (bits), __LINE__)
#define __ballot_sync(mask, yes) ::zeroth::fibers::vote(mask, yes, __LINE__)
#define __popc(bits) __builtin_popcount(bits)
#define __ffs(bits) __builtin_ffs(static_cast<int>(bits))
#define atomicAdd(at, by) ::zeroth::fibers::atomic_add(at, by)
#define __pipeline_memcpy_async(to, from, bytes) ::zeroth::fibers::copy_async(to, from, bytes)
#define __pipeline_commit() ::zeroth::fibers::commit_copies()
#define __pipeline_wait_prior(groups) ::zeroth::fibers::wait_for_copies(groups)

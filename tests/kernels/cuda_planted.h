// Kernels with one fault each, and what has to be found (tests/kernels/cuda_faults.cc).
#pragma once

#include <vector>

#include "kernels/cuda/fibers/fibers.h"

namespace zeroth::kernels::planted {

// kNone is the same kernel without a fault: the control.
enum Plant {
  kNone,
  kReadPastEnd,
  kReadBeforeBegin,
  kWritePastEnd,
  kFreedMemory,
  kHostPointer,
  kUnwrittenInput,
  kSharedOverrun,
  kUnwrittenShared,
  kNoBarrierBeforeRead,
  kNoBarrierBeforeWrite,
  kBarrierSomeSkip,
  kBarrierTwoPlaces,
  kNoWarpBarrier,
  kShuffleHalfMissing,
  kShuffleMaskWithoutSelf,
  kBlocksWriteOnePlace,
  kBlockReadsAnothers,
  kCounterNotAtomic,
  kAsyncNotWaited,
  kAsyncReadTooEarly,
  kAsyncWaitsForTooFew,
  kAsyncMisaligned,
  kVectorMisaligned,
  kTooMuchShared,
  kTooManyThreads,
  kGridTooHigh,
  kNoEnd,
  kTotalNotAtomic,
  kCount
};

// Runs the kernel that the plant belongs to; its output, which is right when there is no fault.
std::vector<float> run_reduction(Plant plant);  // sums of two blocks: 1000 and 1000
std::vector<float> run_staging(Plant plant);    // 1024 numbers, turned by 17 places
std::vector<float> run_counting(Plant plant);   // how many of 512 threads in 4 blocks: 2048

}  // namespace zeroth::kernels::planted

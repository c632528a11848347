// The process-wide pool of threads for data-parallel loops.
#pragma once

#include <cstdint>
#include <functional>

namespace zeroth {

// Number of threads that parallel_for uses, the caller included. Starts as ZEROTH_THREADS when set,
// else the number of cores this process may run on. Results of the library never depend on it
// (docs/numerics.md).
int num_threads();

// Sets it, 1..256. Not to be called while a parallel_for runs.
void set_num_threads(int n);

// Ranges that parallel_for deals per thread, at most: they balance uneven bodies without losing
// much to bookkeeping.
inline constexpr int kChunksPerThread = 16;

// Calls body(begin, end) on disjoint ranges that cover [0, n), on several threads, and returns when
// all are done. Ranges are at least `grain` long except the last; which thread gets which range is
// unspecified, so body must write only what belongs to its range. The first exception that a body
// throws is thrown again here. Nested calls run inline.
void parallel_for(int64_t n, int64_t grain,
                  const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace zeroth

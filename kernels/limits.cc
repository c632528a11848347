#include "kernels/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "core/parallel.h"
#include "core/system.h"
#include "kernels/cpu/table.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

using Clock = std::chrono::steady_clock;

// Best rate (work / second) of `round` within the time given; at least three rounds.
template <class Round>
double best_rate(double seconds, double work, const Round& round) {
  double best = 0;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < 3 || std::chrono::duration<double>(Clock::now() - start).count() < seconds;
       ++i) {
    const Clock::time_point begin = Clock::now();
    round();
    best = std::max(best, work / std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return best;
}

}  // namespace

Limits measure_limits(double seconds) {
  Limits limits;
  const Table& isa = table();
  const int threads = num_threads();
  std::atomic<float> sink{0};  // keeps the loops from being optimised away

  constexpr int64_t kIterations = 100'000;
  limits.gflops = best_rate(seconds / 3, 2e-9 * kIterations * kFmaLoopVectors * 16 * threads, [&] {
    parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sink = isa.fma_loop(kIterations);
    });
  });

  const int64_t cache = system::last_cache_bytes();
  limits.cache_mb = static_cast<double>(cache) / (1 << 20);
  const int64_t cache_floats = (cache > 0 ? cache : 32 << 20) / 4;
  const int64_t floats = std::min<int64_t>(4 * cache_floats, int64_t{1} << 26);
  Floats memory;
  float* data = memory.reserve(floats);
  std::fill_n(data, floats, 1.0f);
  const auto stream = [&](int64_t n) {
    return best_rate(seconds / 3, 4e-9 * static_cast<double>(n), [&] {
      parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          sink = isa.read_loop(data + n / threads * i, n / threads);
      });
    });
  };
  limits.read_gbs = stream(floats);
  limits.cache_gbs = stream(std::min(floats, cache_floats / 2));
  return limits;
}

}  // namespace zeroth::kernels

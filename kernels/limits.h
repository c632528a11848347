// What this machine can do at most, measured: every speed is reported beside these two figures.
#pragma once

namespace zeroth::kernels {

struct Limits {
  double gflops =
      0;  // fused multiply-adds from registers, all threads of the pool, counted as two operations
  double read_gbs = 0;  // streaming read from memory, all threads, in 10^9 bytes a second
  double cache_gbs =
      0;  // the same over half of the last-level cache (weights of small models live there)
  double cache_mb = 0;  // size of the last-level cache in 2^20 bytes, 0 when unknown
};

// Measures with the current instruction set and number of threads; blocks for about `seconds` and
// takes the best of several rounds. Allocates four times the last-level cache (at most 256 MiB) for
// the time of the call.
Limits measure_limits(double seconds = 0.6);

}  // namespace zeroth::kernels

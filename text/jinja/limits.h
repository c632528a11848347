// Budgets of one rendering.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zeroth::jinja {

struct Limits {
  int64_t steps = 10'000'000;             // evaluations, about a second
  size_t output_bytes = size_t{1} << 26;  // 64 MiB
  size_t memory_bytes = size_t{1} << 28;  // 256 MiB of values at a time
  int depth = 1000;                       // evaluations inside each other
  int macro_depth = 150;                  // macros and recursive loops inside each other
};

}  // namespace zeroth::jinja

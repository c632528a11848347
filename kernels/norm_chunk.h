// Over which floats a sum of squares is added.
#pragma once

#include <cstdint>

namespace zeroth::kernels {

// sum_squares() adds the sums of pieces of so many floats, in order; whoever has whole pieces can
// add their part apart and gets the same bits.
inline constexpr int64_t kNormChunk = 65'536;

}  // namespace zeroth::kernels

// How the numbers of a published weight are stored.
#pragma once

#include <stdint.h>

namespace zeroth::kernels {

enum class Element { kFloat32, kBfloat16 };

// The upper half of a float's bits.
using Bfloat16 = uint16_t;

}  // namespace zeroth::kernels

// What all values of an AdamW step share.
#pragma once

#include "kernels/cpu/table.h"
#include "kernels/optimizer.h"

namespace zeroth::kernels {

// In binary64, rounded once. Throws Error when the step does not count from 1.
AdamWConstants constants_of(const AdamWStep& step);

}  // namespace zeroth::kernels

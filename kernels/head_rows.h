// What the heads of all back ends have in common.
#pragma once

#include "kernels/head.h"

namespace zeroth::kernels {

// Rows that head_backward adds up before they are rounded into dw.
int64_t head_chunk_rows(int64_t vocab);
// Throws Error when the target is none of the vocabulary's, or its kept set does not ascend in it
// or does not hold the target.
void check_head_row(KeptSet ids, int32_t target, int64_t vocab, int64_t row);

}  // namespace zeroth::kernels

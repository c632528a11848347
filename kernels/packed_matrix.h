// The inside of PackedMatrix: panels of 32 output columns, each [in][32], the last one zero padded.
#pragma once

#include "kernels/cpu/table.h"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {

struct PackedMatrix::Impl {
  int64_t out = 0, in = 0;
  float* panels = nullptr;
  Floats own;  // unless the panels were placed elsewhere
  int64_t panel_count() const { return (out + kPanelColumns - 1) / kPanelColumns; }
  int64_t panel_size() const { return in * kPanelColumns; }
};

}  // namespace zeroth::kernels

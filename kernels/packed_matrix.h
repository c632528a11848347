// The inside of PackedMatrix: panels of 32 output columns, each [in][32], the last one zero padded.
#pragma once

#include "kernels/cpu/table.h"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {

struct PackedMatrix::Impl {
  int64_t out = 0, in = 0;
  Element element = Element::kFloat32;
  float* memory = nullptr;
  Floats own;  // unless the panels were placed elsewhere
  int64_t panel_count() const { return (out + kPanelColumns - 1) / kPanelColumns; }
  int64_t panel_size() const { return in * kPanelColumns; }
  // f(panel p) as const float* or const Bfloat16*, whichever the elements are.
  template <class F>
  auto with_panel(int64_t p, const F& f) const {
    if (element == Element::kFloat32) return f(memory + p * panel_size());
    return f(reinterpret_cast<Bfloat16*>(memory) + p * panel_size());
  }
};

}  // namespace zeroth::kernels

// The inside of the CPU's packed matrices: panels of 32 output columns, each [in][32], the last one
// zero padded.
#pragma once

#include "kernels/cpu/table.h"
#include "kernels/ops.h"

namespace zeroth::kernels {

struct Panels {
  const int64_t out, in;
  const Element element;
  float* const memory;
  explicit Panels(const PackedMatrix& w)
      : out(w.out()), in(w.in()), element(w.element()), memory(w.memory().address()) {}
  int64_t count() const { return (out + kPanelColumns - 1) / kPanelColumns; }
  int64_t size() const { return in * kPanelColumns; }
  // f(panel p) as float* or Bfloat16*, whichever the elements are.
  template <class F>
  auto with_panel(int64_t p, const F& f) const {
    if (element == Element::kFloat32) return f(memory + p * size());
    return f(reinterpret_cast<Bfloat16*>(memory) + p * size());
  }
};

// Table::unpack_weight for panels of either element.
inline void unpack_weight(const Table& isa, const float* panel, int64_t columns, float* out) {
  isa.unpack_weight(panel, columns, out);
}
inline void unpack_weight(const Table& isa, const Bfloat16* panel, int64_t columns, float* out) {
  isa.unpack_weight_bfloat16(panel, columns, out);
}

}  // namespace zeroth::kernels

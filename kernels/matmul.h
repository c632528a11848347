// Matrix products, forward and backward. What all operators promise: kernels/ops.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/memory.h"
#include "kernels/array.h"
#include "kernels/element.h"
#include "kernels/parts.h"

namespace zeroth::kernels {

// A weight matrix W [out, in] (Hugging Face layout) in the layout of the operators that packed it,
// for these only. Its elements are the floats, or these rounded once to bfloat16 (to nearest even):
// every product then is that of the rounded floats, bit for bit, from half the memory.
class PackedMatrix {
 public:
  // Memory of packed_floats(out, in, element), aligned to cache lines, the caller's; filled by
  // pack_rows.
  void place(int64_t out, int64_t in, Element element, At<float> memory) {
    out_ = out;
    in_ = in;
    element_ = element;
    memory_ = memory;
  }
  // All of w [out, in] for the operators of this header, in memory of its own.
  void pack(const float* w, int64_t out, int64_t in, int64_t ldw,
            Element element = Element::kFloat32);
  int64_t out() const { return out_; }
  int64_t in() const { return in_; }
  Element element() const { return element_; }
  At<float> memory() const { return memory_; }

 private:
  int64_t out_ = 0, in_ = 0;
  Element element_ = Element::kFloat32;
  At<float> memory_ = {};
  Memory<float> own_;
};
using PackedMatrices = std::span<const PackedMatrix* const>;

// Floats of memory that a matrix takes.
int64_t packed_floats(int64_t out, int64_t in, Element element = Element::kFloat32);
// Packs rows [first, first + rows) of a placed W from `from` [rows, in], memory of the host, on the
// caller's thread. `first` is a multiple of kPackRows, and so is `rows` but for the last part.
inline constexpr int64_t kPackRows = 32;
void pack_rows(PackedMatrix& w, int64_t first, int64_t rows, const float* from, int64_t ld);
// Such rows back, widened: `to` [rows, in], memory of the host.
void unpack_rows(const PackedMatrix& w, int64_t first, int64_t rows, float* to);

// What the caller reads after a product: pieces of `floats` floats each. The product's tasks share
// them, and each asks for its part in order beside its arithmetic, as far as that lasts. Only a
// hint: what lies there may change meanwhile.
struct FetchList {
  std::span<const float* const> pieces;
  int64_t floats = 0;
};

// y [m, out] = x [m, in] W^T (+ bias [out]). An output is a sum of leaves of 256 k, each one FMA
// chain over ascending k from 0, added in ascending order; the bias is added last.
void linear(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy, int64_t m, const FetchList& fetch = {});

// Rows of x are grouped: rows offsets[e] .. offsets[e+1] go through weights[e] (experts). offsets:
// [n + 1].
void grouped_linear(const float* x, int64_t ldx, std::span<const int64_t> offsets,
                    PackedMatrices weights, float* y, int64_t ldy);

// Backward of linear. dx [m, in] = (accumulate ? dx : 0) + dy [m, out] W [out, in].
void linear_backward_input(const float* dy, int64_t lddy, const PackedMatrix& w, float* dx,
                           int64_t lddx, int64_t m, bool accumulate);
// dw [out, in] += dy^T x; dbias [out] += column sums of dy when not null.
void linear_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx, float* dw,
                            int64_t lddw, float* dbias, int64_t m, int64_t out, int64_t in,
                            RowParts parts = {});
// Grouped versions: pointers per group, rows by offsets.
void grouped_backward_input(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                            PackedMatrices weights, float* dx, int64_t lddx);
void grouped_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                             std::span<const int64_t> offsets, std::span<float* const> dw,
                             int64_t out, int64_t in, RowParts parts = {});

}  // namespace zeroth::kernels

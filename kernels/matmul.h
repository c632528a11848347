// Matrix products, forward and backward. What all operators promise: kernels/ops.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernels/element.h"
#include "kernels/parts.h"

namespace zeroth::kernels {

// A weight matrix W [out, in] (Hugging Face layout) repacked for linear(); immutable until pack()
// is called again. Its elements are the floats, or these rounded once to bfloat16 (to nearest
// even): every product then is that of the rounded floats, bit for bit, from half the memory.
class PackedMatrix {
 public:
  PackedMatrix();
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;
  void pack(const float* w, int64_t out, int64_t in, int64_t ldw,
            Element element = Element::kFloat32);
  // The same in parts, on the caller's thread: resize, then rows [first, first + rows) of W from w
  // [rows, in]. `first` is a multiple of kPackRows, and so is `rows` but for the last part.
  static constexpr int64_t kPackRows = 32;
  // `memory`: of packed_floats(out, in, element), aligned to cache lines, the caller's; null: the
  // matrix's own.
  void resize(int64_t out, int64_t in, float* memory = nullptr,
              Element element = Element::kFloat32);
  static int64_t packed_floats(int64_t out, int64_t in, Element element = Element::kFloat32);
  void pack_rows(int64_t first, int64_t rows, const float* w, int64_t ldw);
  int64_t out() const;
  int64_t in() const;
  Element element() const;
  struct Impl;
  const Impl* impl() const { return impl_.get(); }

 private:
  std::unique_ptr<Impl> impl_;
};

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
                    std::span<const PackedMatrix* const> weights, float* y, int64_t ldy);

// Backward of linear. dx [m, in] = (accumulate ? dx : 0) + dy [m, out] W [out, in].
void linear_backward_input(const float* dy, int64_t lddy, const PackedMatrix& w, float* dx,
                           int64_t lddx, int64_t m, bool accumulate);
// dw [out, in] += dy^T x; dbias [out] += column sums of dy when not null.
void linear_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx, float* dw,
                            int64_t lddw, float* dbias, int64_t m, int64_t out, int64_t in,
                            RowParts parts = {});
// Grouped versions: pointers per group, rows by offsets.
void grouped_backward_input(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                            std::span<const PackedMatrix* const> w, float* dx, int64_t lddx);
void grouped_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                             std::span<const int64_t> offsets, std::span<float* const> dw,
                             int64_t out, int64_t in, RowParts parts = {});

}  // namespace zeroth::kernels

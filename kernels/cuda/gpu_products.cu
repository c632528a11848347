// Products and rows (kernels/matmul.h, kernels/rows.h, kernels/optimizer.h) of the back end.
#include "kernels/adamw_constants.h"
#include "kernels/cuda/gpu_operators.h"
#include "kernels/cuda/rows.h"
#include "kernels/norm_chunk.h"

namespace zeroth::kernels::cuda {

// --- kernels/matmul.h

int64_t GpuOperators::packed_floats(int64_t out, int64_t in, Element element) const {
  return kernels::packed_floats(out, in, element);  // the CPU's panels
}

void GpuOperators::pack_rows(PackedMatrix& w, int64_t first, int64_t rows, const float* from,
                             int64_t ld) const {
  Call call(device_);
  float* const there = call.space<float>(rows * w.in());
  if (ld == w.in()) {
    device_.copy_in(there, from, static_cast<size_t>(rows * ld) * sizeof(float));
  } else {
    for (int64_t i = 0; i < rows; ++i) {
      device_.copy_in(there + i * w.in(), from + i * ld,
                      static_cast<size_t>(w.in()) * sizeof(float));
    }
  }
  cuda::pack_rows(call.stream(), weights_of(w), w.memory().address(), first, rows, there, w.in());
}

void GpuOperators::unpack_rows(const PackedMatrix& w, int64_t first, int64_t rows,
                               float* to) const {
  Call call(device_);
  float* const there = call.space<float>(rows * w.in());
  cuda::unpack_rows(call.stream(), weights_of(w), first, rows, there);
  call.bring(to, there, rows * w.in());
  call.wait();
}

void GpuOperators::linear(At<const float> x, int64_t ldx, const PackedMatrix& w,
                          At<const float> bias, At<float> y, int64_t ldy, int64_t m,
                          const FetchList&) const {
  Call call(device_);
  cuda::linear(call.stream(), x.address(), ldx, weights_of(w), bias.address(), y.address(), ldy, m,
               call.product_space(m, w.out(), w.in()));
}

void GpuOperators::grouped_linear(At<const float> x, int64_t ldx, View<const int64_t> offsets,
                                  PackedMatrices weights, At<float> y, int64_t ldy) const {
  if (weights.empty()) return;
  Call call(device_);
  const RowBounds groups = call.groups(offsets);
  const GroupedWeights w = call.grouped(weights);
  cuda::grouped_linear(call.stream(), x.address(), ldx, groups, w, y.address(), ldy,
                       call.product_space(groups.rows, w.out, w.in));
}

void GpuOperators::linear_backward_input(At<const float> dy, int64_t lddy, const PackedMatrix& w,
                                         At<float> dx, int64_t lddx, int64_t m,
                                         bool accumulate) const {
  Call call(device_);
  cuda::linear_backward_input(call.stream(), dy.address(), lddy, weights_of(w), dx.address(), lddx,
                              m, accumulate);
}

void GpuOperators::linear_backward_weight(At<const float> dy, int64_t lddy, At<const float> x,
                                          int64_t ldx, At<float> dw, int64_t lddw, At<float> dbias,
                                          int64_t m, int64_t out, int64_t in,
                                          RowParts parts) const {
  if (m == 0) return;
  Call call(device_);
  cuda::linear_backward_weight(call.stream(), dy.address(), lddy, x.address(), ldx, dw.address(),
                               lddw, dbias.address(), out, in, call.parts(parts, m));
}

void GpuOperators::grouped_backward_input(At<const float> dy, int64_t lddy,
                                          View<const int64_t> offsets, PackedMatrices weights,
                                          At<float> dx, int64_t lddx) const {
  if (weights.empty()) return;
  Call call(device_);
  cuda::grouped_backward_input(call.stream(), dy.address(), lddy, call.groups(offsets),
                               call.grouped(weights), dx.address(), lddx);
}

void GpuOperators::grouped_backward_weight(At<const float> dy, int64_t lddy, At<const float> x,
                                           int64_t ldx, View<const int64_t> offsets,
                                           std::span<const At<float>> dw, int64_t out, int64_t in,
                                           View<const int64_t> parts) const {
  if (dw.empty()) return;
  Call call(device_);
  const RowBounds groups = call.groups(offsets);
  cuda::grouped_backward_weight(call.stream(), dy.address(), lddy, x.address(), ldx, groups,
                                Call::chunk_begins(groups, parts), call.addresses(dw), out, in);
}

// --- kernels/rows.h

void GpuOperators::rms_norm(At<const float> x, int64_t ldx, At<const float> weight, float eps,
                            At<float> y, int64_t ldy, At<float> inv_rms, int64_t m, int64_t width,
                            int64_t heads, int64_t ldinv, bool plus_one) const {
  Call call(device_);
  cuda::rms_norm(call.stream(), x.address(), ldx, weight.address(), eps, y.address(), ldy,
                 inv_rms.address(), m, width, heads, ldinv, plus_one);
}

void GpuOperators::rms_norm_backward(At<const float> dy, int64_t lddy, At<const float> x,
                                     int64_t ldx, At<const float> weight, At<const float> inv_rms,
                                     At<float> dx, int64_t lddx, At<float> dweight, int64_t m,
                                     int64_t width, bool accumulate, int64_t heads, RowParts parts,
                                     bool plus_one) const {
  if (m == 0) return;
  Call call(device_);
  const RowBounds bounds = call.parts(parts, m);
  float* const partial = call.space<float>(rms_norm_partial(width, heads, bounds));
  cuda::rms_norm_backward(call.stream(), dy.address(), lddy, x.address(), ldx, weight.address(),
                          inv_rms.address(), dx.address(), lddx, dweight.address(), m, width,
                          accumulate, heads, bounds, partial, plus_one);
}

void GpuOperators::add(At<const float> a, At<const float> b, At<float> y, int64_t n) const {
  Call call(device_);
  cuda::add(call.stream(), a.address(), b.address(), y.address(), n);
}

void GpuOperators::swiglu(At<const float> gu, int64_t ldgu, At<float> y, int64_t ldy, int64_t m,
                          int64_t width, Gate function) const {
  Call call(device_);
  cuda::swiglu(call.stream(), gu.address(), ldgu, y.address(), ldy, m, width, function);
}

void GpuOperators::swiglu_backward(At<const float> dy, int64_t lddy, At<const float> gu,
                                   int64_t ldgu, At<float> dgu, int64_t lddgu, int64_t m,
                                   int64_t width, At<float> act, const DeviceWeights& w,
                                   Gate function) const {
  Call call(device_);
  SwigluGradient t;
  t.dy = dy.address(), t.lddy = lddy;
  t.gu = gu.address(), t.ldgu = ldgu;
  t.dgu = dgu.address(), t.lddgu = lddgu;
  t.act = act.address();
  t.order = w.order.address(), t.weights = w.weights.address(), t.dweights = w.dweights.address();
  t.m = m, t.width = width, t.gate = function;
  cuda::swiglu_backward(call.stream(), t);
}

void GpuOperators::rope(At<float> x, int64_t ldx, int64_t head_stride, At<const int32_t> positions,
                        At<const float> cos, At<const float> sin, int64_t m, int heads, int dim,
                        bool interleaved, bool inverse) const {
  Call call(device_);
  cuda::rope(call.stream(), x.address(), ldx, head_stride, positions.address(), cos.address(),
             sin.address(), m, heads, dim, interleaved, inverse);
}

void GpuOperators::embedding(const EmbeddingTable& table, int64_t width, At<const int32_t> ids,
                             At<float> out, int64_t m) const {
  Call call(device_);
  if (table.packed) {
    cuda::embedding(call.stream(), weights_of(*table.packed), ids.address(), out.address(), m);
  } else if (table.floats) {
    cuda::embedding(call.stream(), table.floats.address(), width, ids.address(), out.address(), m);
  } else {
    cuda::embedding(call.stream(), table.halves.address(), width, ids.address(), out.address(), m);
  }
}

void GpuOperators::embedding_backward(At<const float> dy, At<const int32_t> ids, At<float> dtable,
                                      int64_t m, int64_t width, int64_t) const {
  Call call(device_);
  cuda::embedding_backward(call.stream(), dy.address(), ids.address(), dtable.address(), m, width);
}

// --- kernels/optimizer.h

double GpuOperators::sum_squares(At<const float> x, int64_t n) const {
  if (n == 0) return 0;
  Call call(device_);
  double* const partial = call.space<double>((n + kNormChunk - 1) / kNormChunk);
  double* const there = call.space<double>(1);
  double sum = 0;
  cuda::sum_squares(call.stream(), x.address(), n, partial, there);
  call.bring(&sum, there, 1);
  call.wait();
  return sum;
}

void GpuOperators::adamw(At<float> w, At<const float> grad, At<float> m, At<float> v, int64_t n,
                         const AdamWStep& step) const {
  Call call(device_);
  cuda::adamw(call.stream(), w.address(), grad.address(), m.address(), v.address(), n,
              constants_of(step));
}

}  // namespace zeroth::kernels::cuda

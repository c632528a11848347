// Rows taken apart and put together, and rows that are kept (kernels/assemble.h,
// kernels/saved_rows.h) of the back end.
#include "kernels/cuda/assemble.h"
#include "kernels/cuda/gpu_operators.h"
#include "kernels/cuda/saved_rows.h"

namespace zeroth::kernels::cuda {
namespace {

int64_t count_of(View<const int32_t> list) { return static_cast<int64_t>(list.size()); }

// The rows of a call where the kernels find them. `order` empty: no choices.
SavedRows staged(Call& call, std::span<const SavedArray> arrays, std::span<const At<char>> rows,
                 View<const int32_t> order, int top_k) {
  std::vector<SavedPart> parts;
  for (const SavedArray& array : arrays) {
    parts.push_back({array.data.as<uint32_t>().address(),
                     array.bytes / static_cast<int64_t>(sizeof(uint32_t)), array.order});
  }
  std::vector<uint32_t*> at;
  for (const At<char>& row : rows) at.push_back(row.as<uint32_t>().address());
  SavedRows out;
  out.parts = call.stage(parts);
  out.count = static_cast<int64_t>(parts.size());
  out.at = call.stage(at);
  out.place = order.empty() ? nullptr : call.places(order);
  out.m = static_cast<int64_t>(rows.size());
  out.top_k = top_k;
  return out;
}

}  // namespace

// --- kernels/assemble.h

void GpuOperators::zero_rows(At<float> x, int64_t ldx, int64_t m, int64_t width) const {
  Call call(device_);
  cuda::zero_rows(call.stream(), x.address(), ldx, m, width);
}

void GpuOperators::zero_pages(const DevicePages& cache, View<const int32_t> pages) const {
  Call call(device_);
  cuda::zero_pages(call.stream(), pages_of(cache), pages.data().address(), count_of(pages));
}

void GpuOperators::copy_page(const DevicePages& cache, int32_t from, int32_t to) const {
  Call call(device_);
  cuda::copy_page(call.stream(), pages_of(cache), from, to);
}

void GpuOperators::copy(At<const float> x, At<float> y, int64_t n) const {
  Call call(device_);
  cuda::copy(call.stream(), x.address(), y.address(), n);
}

void GpuOperators::count_up(At<int32_t> ids, int64_t m, int32_t step) const {
  Call call(device_);
  cuda::count_up(call.stream(), call.writes(ids, m), m, step);
}

void GpuOperators::clamp_rows(At<float> x, int64_t ldx, int64_t m, int64_t width,
                              float bound) const {
  Call call(device_);
  cuda::clamp_rows(call.stream(), x.address(), ldx, m, width, bound);
}

void GpuOperators::clamp_rows_backward(At<const float> clamped, int64_t ldx, At<float> dx,
                                       int64_t lddx, int64_t m, int64_t width, float bound) const {
  Call call(device_);
  cuda::clamp_rows_backward(call.stream(), clamped.address(), ldx, dx.address(), lddx, m, width,
                            bound);
}

void GpuOperators::scale_rows(At<float> x, int64_t ldx, int64_t m, int64_t width,
                              float factor) const {
  Call call(device_);
  cuda::scale_rows(call.stream(), x.address(), ldx, m, width, factor);
}

void GpuOperators::take_rows(At<const float> x, int64_t ldx, View<const int32_t> rows,
                             At<float> out, int64_t ldout, int64_t width) const {
  Call call(device_);
  cuda::take_rows(call.stream(), x.address(), ldx, rows.data().address(), count_of(rows),
                  out.address(), ldout, width);
}

void GpuOperators::add_to_rows(At<const float> y, int64_t ldy, View<const int32_t> rows,
                               At<float> x, int64_t ldx, int64_t width) const {
  Call call(device_);
  cuda::add_to_rows(call.stream(), y.address(), ldy, rows.data().address(), count_of(rows),
                    x.address(), ldx, width);
}

void GpuOperators::expand_latent(const LatentHeads& w, At<const float> kv,
                                 At<const float> rope_part, int64_t ldr, At<float> k, At<float> v,
                                 int64_t m) const {
  Call call(device_);
  cuda::expand_latent(call.stream(), w, kv.address(), rope_part.address(), ldr, k.address(),
                      v.address(), m);
}

void GpuOperators::collapse_latent(const LatentHeads& w, At<const float> dk, At<const float> dv,
                                   At<float> dkv, At<float> drope, int64_t ldr, int64_t m) const {
  Call call(device_);
  cuda::collapse_latent(call.stream(), w, dk.address(), dv.address(), dkv.address(),
                        drope.address(), ldr, m);
}

void GpuOperators::merge_attention(At<const float> part_out, At<const float> part_lse,
                                   View<const int32_t> rows, int64_t heads, int64_t dim,
                                   At<float> out, At<float> lse) const {
  Call call(device_);
  cuda::merge_attention(call.stream(), part_out.address(), part_lse.address(),
                        rows.data().address(), count_of(rows), heads, dim, out.address(),
                        lse.address());
}

void GpuOperators::add_sinks(At<const float> sinks, At<float> out, int64_t ldout, At<float> lse,
                             int64_t m, int64_t heads, int64_t dim) const {
  Call call(device_);
  cuda::add_sinks(call.stream(), sinks.address(), out.address(), ldout, lse.address(), m, heads,
                  dim);
}

void GpuOperators::add_sinks_backward(At<const float> sinks, At<const float> out, int64_t ldout,
                                      At<const float> lse, At<const float> dout, int64_t lddout,
                                      At<float> dsinks, int64_t m, int64_t heads, int64_t dim,
                                      RowParts parts) const {
  if (m == 0) return;
  Call call(device_);
  cuda::add_sinks_backward(call.stream(), sinks.address(), out.address(), ldout, lse.address(),
                           dout.address(), lddout, dsinks.address(), heads, dim,
                           call.parts(parts, m), call.space<float>(m * heads));
}

// --- kernels/saved_rows.h

void GpuOperators::save_rows(std::span<const SavedArray> arrays, std::span<const At<char>> rows,
                             View<const int32_t> order, int top_k) const {
  Call call(device_);
  cuda::save_rows(call.stream(), staged(call, arrays, rows, order, top_k));
}

void GpuOperators::recall_rows(std::span<const SavedArray> arrays, std::span<const At<char>> rows,
                               int top_k) const {
  Call call(device_);
  for (const SavedArray& array : arrays) {
    call.writes(array.data, array.bytes * static_cast<int64_t>(rows.size()));
  }
  cuda::recall_rows(call.stream(), staged(call, arrays, rows, {}, top_k));
}

void GpuOperators::recall_choices(std::span<const SavedArray> arrays,
                                  std::span<const At<char>> rows, View<const int32_t> order,
                                  int top_k) const {
  if (order.empty()) return;
  Call call(device_);
  cuda::recall_choices(call.stream(), staged(call, arrays, rows, order, top_k));
}

}  // namespace zeroth::kernels::cuda

// Experts and attention (kernels/moe.h, kernels/attention.h) of the back end.
#include <algorithm>

#include "kernels/cuda/assemble.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/gpu_operators.h"
#include "kernels/router_check.h"

namespace zeroth::kernels::cuda {
namespace {

// The most floats that a call of attention takes for scores; more rows at a time gain nothing.
constexpr int64_t kMostScores = int64_t{64} << 20;

int64_t count_of(View<const int32_t> list) { return static_cast<int64_t>(list.size()); }

}  // namespace

// --- kernels/moe.h

void GpuOperators::route(At<const float> logits, At<const float> bias, const RouterConfig& config,
                         At<int32_t> ids, At<float> weights, At<float> scores, int64_t m) const {
  check_router(config);
  Call call(device_);
  cuda::route(call.stream(), logits.address(), bias.address(), config,
              call.writes(ids, m * config.top_k), weights.address(), scores.address(), m);
}

void GpuOperators::weigh_choices(At<const float> scores, At<const int32_t> ids,
                                 const RouterConfig& config, At<float> weights, int64_t m) const {
  check_router(config);
  Call call(device_);
  cuda::weigh_choices(call.stream(), scores.address(), ids.address(), config, weights.address(), m);
}

void GpuOperators::route_backward(At<const float> dweights, At<const int32_t> ids, At<const float>,
                                  At<const float> scores, const RouterConfig& config,
                                  At<float> dlogits, int64_t m) const {
  check_router(config);
  Call call(device_);
  cuda::route_backward(call.stream(), dweights.address(), ids.address(), scores.address(), config,
                       dlogits.address(), m);
}

void GpuOperators::expert_sort(At<const int32_t> ids, int64_t m, int top_k, int experts,
                               At<int64_t> offsets, At<int32_t> order) const {
  Call call(device_);
  const int64_t choices = m * top_k;
  int64_t* const to = call.writes(offsets, experts + 1);
  cuda::expert_sort(call.stream(), ids.address(), m, top_k, experts, to,
                    call.writes(order, choices), call.space<int32_t>(choices));
  call.known().note(to, static_cast<size_t>(experts + 1) * sizeof(int64_t), {choices, 0});
}

void GpuOperators::choice_parts(View<const int64_t> offsets, View<const int32_t> order, int top_k,
                                RowParts parts, At<int64_t> begins) const {
  if (offsets.size() < 2 || parts.empty()) return;
  Call call(device_);
  const auto experts = static_cast<int64_t>(offsets.size()) - 1;
  const auto count = static_cast<int64_t>(parts.size());
  const int64_t* const there = call.stage(parts.data(), count);
  cuda::choice_parts(call.stream(), offsets.data().address(), static_cast<int>(experts),
                     order.data().address(), top_k, there, count,
                     call.writes(begins, experts * count));
}

void GpuOperators::gather_rows(At<const float> x, int64_t ldx, View<const int32_t> order, int top_k,
                               At<float> out, int64_t width) const {
  Call call(device_);
  cuda::gather_rows(call.stream(), x.address(), ldx, order.data().address(), count_of(order), top_k,
                    out.address(), width);
}

void GpuOperators::gather_rows_backward(At<const float> dout, View<const int32_t> order, int top_k,
                                        At<float> dx, int64_t lddx, int64_t m, int64_t width,
                                        bool accumulate) const {
  Call call(device_);
  cuda::gather_rows_backward(call.stream(), dout.address(), call.places(order), top_k, dx.address(),
                             lddx, m, width, accumulate);
}

void GpuOperators::add_group_bias(At<float> y, int64_t ldy, View<const int64_t> offsets,
                                  At<const float> bias, int64_t width) const {
  if (offsets.size() < 2) return;
  Call call(device_);
  cuda::add_group_bias(call.stream(), y.address(), ldy, call.groups(offsets), bias.address(),
                       width);
}

void GpuOperators::group_bias_backward(At<const float> dy, int64_t lddy,
                                       View<const int64_t> offsets, At<const float> bias,
                                       At<float> dbias, int64_t width, const DeviceWeights& w,
                                       View<const int64_t> parts) const {
  if (offsets.size() < 2) return;
  Call call(device_);
  GroupBiasGradient t;
  t.dy = dy.address(), t.lddy = lddy;
  t.bias = bias.address(), t.dbias = dbias.address(), t.width = width;
  t.order = w.order.address(), t.weights = w.weights.address(), t.dweights = w.dweights.address();
  const RowBounds groups = call.groups(offsets);
  cuda::group_bias_backward(call.stream(), t, groups, Call::chunk_begins(groups, parts));
}

void GpuOperators::combine(At<const float> y, View<const int32_t> order, At<const float> weights,
                           int top_k, At<float> out, int64_t ldout, int64_t m,
                           int64_t width) const {
  Call call(device_);
  cuda::combine(call.stream(), y.address(), call.places(order), weights.address(), top_k,
                out.address(), ldout, m, width);
}

void GpuOperators::balance_backward(const RouterConfig& router, At<const float> scores,
                                    const float* aux, At<float> dlogits, int64_t m) const {
  Call call(device_);
  const float* const there = call.stage(aux, router.experts);
  cuda::balance_backward(call.stream(), router, scores.address(), there, dlogits.address(), m);
}

// --- kernels/attention.h

void GpuOperators::kv_write(const DevicePages& cache, View<const KvWrite> writes, At<const float> k,
                            int64_t ldk, At<const float> v, int64_t ldv) const {
  Call call(device_);
  cuda::kv_write(call.stream(), pages_of(cache), writes.data().address(),
                 static_cast<int64_t>(writes.size()), k.address(), ldk, v.address(), ldv);
}

void GpuOperators::kv_write_backward(const DevicePages& dcache, View<const KvWrite> writes,
                                     At<float> dk, int64_t lddk, At<float> dv, int64_t lddv) const {
  Call call(device_);
  cuda::kv_write_backward(call.stream(), pages_of(dcache), writes.data().address(),
                          static_cast<int64_t>(writes.size()), dk.address(), lddk, dv.address(),
                          lddv);
}

void GpuOperators::attention(At<const float> q, int64_t ldq, const DevicePages& cache,
                             const DeviceRows& rows, float scale, int heads, At<float> out,
                             int64_t ldout, At<float> lse) const {
  Call call(device_);
  const KvPages pages = pages_of(cache);
  const PagedRows there = call.rows(rows);
  if (there.count == 0) return;
  PagedRows one = there;
  one.count = 1;
  const int64_t floats = std::max(attention_workspace(pages, one, heads),
                                  std::min(attention_workspace(pages, there, heads), kMostScores));
  const Workspace workspace{floats > 0 ? call.space<float>(floats) : nullptr, floats};
  cuda::attention(call.stream(), q.address(), ldq, pages, there, scale, heads, out.address(), ldout,
                  lse.address(), workspace);
}

void GpuOperators::attention_backward(At<const float> q, int64_t ldq, const DevicePages& cache,
                                      const DeviceRows& rows, float scale, int heads,
                                      At<const float> out, int64_t ldout, At<const float> lse,
                                      At<const float> dout, int64_t lddout, At<float> dq,
                                      int64_t lddq, const DevicePages& dcache) const {
  Call call(device_);
  const KvPages pages = pages_of(cache);
  const PagedRows there = call.rows(rows);
  if (there.count == 0) return;
  const int64_t floats = attention_backward_workspace(pages, there, heads);
  const Workspace workspace{call.space<float>(floats), floats};
  cuda::attention_backward(call.stream(), q.address(), ldq, pages, there, scale, heads,
                           out.address(), ldout, lse.address(), dout.address(), lddout,
                           dq.address(), lddq, pages_of(dcache), workspace);
}

}  // namespace zeroth::kernels::cuda

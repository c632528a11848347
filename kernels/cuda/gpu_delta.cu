// The gated delta net (kernels/delta.h) of the back end.
#include "kernels/cuda/delta.h"
#include "kernels/cuda/gpu_operators.h"

namespace zeroth::kernels::cuda {
namespace {

DeltaRuleCall call_of(const DeltaShape& shape, At<const float> q, int64_t ldq, At<const float> v,
                      int64_t ldv, At<const float> gates, const DeviceDeltaRuns& runs,
                      At<const float> memory) {
  DeltaRuleCall out;
  out.shape = shape;
  out.q = q.address(), out.ldq = ldq;
  out.v = v.address(), out.ldv = ldv;
  out.gates = gates.address();
  out.runs = runs.runs.data().address();
  out.sets = runs.sets.data().address();
  out.set_count = static_cast<int64_t>(runs.sets.size()) - 1;
  out.longest = runs.longest;
  out.page_table = runs.page_table.data().address();
  out.slots = runs.slots.address();
  out.states = runs.states.address();
  out.memory = const_cast<float*>(memory.address());
  return out;
}

ConvCall conv_of(At<const float> x, int64_t ldx, At<const float> w, int64_t taps,
                 View<const int64_t> past, At<const float> slots, int64_t ldslot, int64_t m,
                 int64_t channels) {
  ConvCall out;
  out.x = x.address(), out.ldx = ldx;
  out.w = w.address(), out.taps = taps;
  out.past = past.data().address();
  out.slots = slots.address(), out.ldslot = ldslot;
  out.m = m, out.channels = channels;
  return out;
}

}  // namespace

void GpuOperators::split_groups(At<const float> x, int64_t ldx, const GroupSplit& split,
                                At<float> y, int64_t ldy, int64_t m) const {
  Call call(device_);
  cuda::split_groups(call.stream(), x.address(), ldx, split, y.address(), ldy, m);
}

void GpuOperators::join_groups(At<const float> y, int64_t ldy, const GroupSplit& split, At<float> x,
                               int64_t ldx, int64_t m) const {
  Call call(device_);
  cuda::join_groups(call.stream(), y.address(), ldy, split, x.address(), ldx, m);
}

void GpuOperators::write_slots(At<float> slots, int64_t ldslot, int64_t column,
                               View<const KvWrite> writes, At<const float> x, int64_t ldx,
                               int64_t width) const {
  Call call(device_);
  cuda::write_slots(call.stream(), slots.address(), ldslot, column, writes.data().address(),
                    static_cast<int64_t>(writes.size()), x.address(), ldx, width);
}

void GpuOperators::causal_conv(At<const float> x, int64_t ldx, At<const float> w, int64_t taps,
                               View<const int64_t> past, At<const float> slots, int64_t ldslot,
                               At<float> y, int64_t ldy, int64_t m, int64_t channels) const {
  Call call(device_);
  cuda::causal_conv(call.stream(), conv_of(x, ldx, w, taps, past, slots, ldslot, m, channels),
                    y.address(), ldy);
}

void GpuOperators::causal_conv_backward(At<const float> dy, int64_t lddy, At<const float> x,
                                        int64_t ldx, At<const float> w, int64_t taps,
                                        View<const int64_t> past, At<const float> slots,
                                        int64_t ldslot, At<float> dx, int64_t lddx, At<float> dw,
                                        int64_t m, int64_t channels, RowParts parts) const {
  if (m == 0) return;
  Call call(device_);
  cuda::causal_conv_backward(
      call.stream(), conv_of(x, ldx, w, taps, past, slots, ldslot, m, channels), dy.address(), lddy,
      dx.address(), lddx, dw.address(), call.parts(parts, m), call.space<float>(m * channels),
      call.space<float>(taps * channels));
}

void GpuOperators::delta_gates(At<const float> x, int64_t ldx, At<const float> a_log,
                               At<const float> dt_bias, At<float> gates, int64_t m,
                               int64_t heads) const {
  Call call(device_);
  cuda::delta_gates(call.stream(), x.address(), ldx, a_log.address(), dt_bias.address(),
                    gates.address(), m, heads);
}

void GpuOperators::delta_gates_backward(At<const float> dgates, At<const float> x, int64_t ldx,
                                        At<const float> a_log, At<const float> dt_bias,
                                        At<const float> gates, At<float> dx, int64_t lddx,
                                        At<float> da_log, At<float> ddt_bias, int64_t m,
                                        int64_t heads, RowParts parts) const {
  if (m == 0) return;
  Call call(device_);
  cuda::delta_gates_backward(call.stream(), dgates.address(), x.address(), ldx, a_log.address(),
                             dt_bias.address(), gates.address(), dx.address(), lddx,
                             da_log.address(), ddt_bias.address(), m, heads, call.parts(parts, m),
                             call.space<float>(m * 2 * heads));
}

void GpuOperators::delta_rule(const DeltaShape& shape, At<const float> q, int64_t ldq,
                              At<const float> v, int64_t ldv, At<const float> gates,
                              const DeviceDeltaRuns& runs, At<float> memory, At<float> out,
                              int64_t ldout) const {
  Call call(device_);
  const DeltaRuleCall rule = call_of(shape, q, ldq, v, ldv, gates, runs, memory);
  cuda::delta_rule(call.stream(), rule, out.address(), ldout,
                   call.space<float>(delta_rule_space(rule)));
}

void GpuOperators::delta_rule_backward(const DeltaShape& shape, At<const float> q, int64_t ldq,
                                       At<const float> v, int64_t ldv, At<const float> gates,
                                       const DeviceDeltaRuns& runs, At<const float> memory,
                                       At<const float> dout, int64_t lddout, At<float> dq,
                                       int64_t lddq, At<float> dk, int64_t lddk, At<float> dv,
                                       int64_t lddv, At<float> dgates) const {
  Call call(device_);
  const DeltaRuleCall rule = call_of(shape, q, ldq, v, ldv, gates, runs, memory);
  DeltaRuleGradients g;
  g.dout = dout.address(), g.lddout = lddout;
  g.dq = dq.address(), g.lddq = lddq;
  g.dk = dk.address(), g.lddk = lddk;
  g.dv = dv.address(), g.lddv = lddv;
  g.dgates = dgates.address();
  cuda::delta_rule_backward(call.stream(), rule, g,
                            call.space<float>(delta_rule_backward_space(rule)));
}

}  // namespace zeroth::kernels::cuda

// Around the recurrence of the gated delta net: groups, slots, convolution, gates.
#include "kernels/cuda/delta.h"

#include "kernels/cuda/arithmetic.cuh"
#include "kernels/cuda/elements.cuh"

namespace zeroth::kernels::cuda {
namespace {

constexpr int64_t kChunkRows = 256;  // rows that a weight's gradient adds up before it is rounded

// Where element i of a grouped row goes; -1: nowhere.
ZEROTH_DEVICE int64_t split_column(const GroupSplit& split, int64_t group_width, int64_t i) {
  const int64_t group = i / group_width;
  int64_t inside = i % group_width;
  for (int p = 0; p < split.parts; ++p) {
    if (inside < split.width[p]) {
      return split.to[p] < 0 ? -1 : split.to[p] + group * split.width[p] + inside;
    }
    inside -= split.width[p];
  }
  return -1;
}

__global__ void __launch_bounds__(kThreads)
    split_groups_kernel(const float* x, int64_t ldx, const GroupSplit split, int64_t group_width,
                        float* y, int64_t ldy, int64_t m) {
  const int64_t i = element(), width = split.groups * group_width;
  if (i >= m * width) return;
  const int64_t to = split_column(split, group_width, i % width);
  if (to >= 0) y[i / width * ldy + to] = x[i / width * ldx + i % width];
}

__global__ void __launch_bounds__(kThreads)
    join_groups_kernel(const float* y, int64_t ldy, const GroupSplit split, int64_t group_width,
                       float* x, int64_t ldx, int64_t m) {
  const int64_t i = element(), width = split.groups * group_width;
  if (i >= m * width) return;
  const int64_t from = split_column(split, group_width, i % width);
  if (from >= 0) x[i / width * ldx + i % width] = y[i / width * ldy + from];
}

__global__ void __launch_bounds__(kThreads)
    write_slots_kernel(float* slots, int64_t ldslot, int64_t column, const KvWrite* writes,
                       int64_t count, const float* x, int64_t ldx, int64_t width) {
  const int64_t i = element();
  if (i >= count * width) return;
  const KvWrite write = writes[i / width];
  slots[write.slot * ldslot + column + i % width] = x[write.row * ldx + i % width];
}

// Where tap j of a row reads; null: in front of the sequence.
ZEROTH_DEVICE const float* tap_of(const ConvCall& t, int64_t row, int64_t j) {
  if (j + 1 == t.taps) return t.x + row * t.ldx;
  const int64_t at = t.past[row * (t.taps - 1) + j];
  return at >= 0 ? t.x + at * t.ldx : at == -1 ? nullptr : t.slots + (-2 - at) * t.ldslot;
}

ZEROTH_DEVICE float conv_sum(const ConvCall& t, int64_t row, int64_t c) {
  float sum = 0.0f;
  for (int64_t j = 0; j < t.taps; ++j) {
    const float* const from = tap_of(t, row, j);
    if (from) sum = fma(t.w[c * t.taps + j], from[c], sum);
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads)
    causal_conv_kernel(const ConvCall t, float* y, int64_t ldy) {
  const int64_t i = element();
  if (i >= t.m * t.channels) return;
  const int64_t row = i / t.channels, c = i % t.channels;
  const float z = conv_sum(t, row, c);
  y[row * ldy + c] = div(z, one_plus_exp_minus(z));
}

__global__ void __launch_bounds__(kThreads)
    conv_slopes_kernel(const ConvCall t, const float* dy, int64_t lddy, float* slopes, float* dx,
                       int64_t lddx) {
  const int64_t i = element();
  if (i >= t.m * t.channels) return;
  const int64_t row = i / t.channels, c = i % t.channels;
  const float z = conv_sum(t, row, c), s = sigmoid(z);
  slopes[i] = mul(dy[row * lddy + c], mul(s, fma(z, sub(1.0f, s), 1.0f)));
  dx[row * lddx + c] = 0.0f;
}

// A thread has a channel: all rows that read a row add to it in their order.
__global__ void __launch_bounds__(kThreads)
    conv_gradients_kernel(const ConvCall t, const float* slopes, float* dx, int64_t lddx, float* dw,
                          const RowBounds parts, float* sums) {
  const int64_t c = element();
  if (c >= t.channels) return;
  for (int64_t part = 0; part < parts.count; ++part) {
    const int64_t end = parts.at[part + 1];
    for (int64_t begin = parts.at[part]; begin < end; begin += kChunkRows) {
      const int64_t last = begin + kChunkRows < end ? begin + kChunkRows : end;
      for (int64_t j = 0; j < t.taps; ++j) sums[j * t.channels + c] = 0.0f;
      for (int64_t row = begin; row < last; ++row) {
        const float d = slopes[row * t.channels + c];
        for (int64_t j = 0; j < t.taps; ++j) {
          const float* const from = tap_of(t, row, j);
          if (!from) continue;
          float* const sum = sums + j * t.channels + c;
          *sum = fma(d, from[c], *sum);
          const int64_t at = j + 1 == t.taps ? row : t.past[row * (t.taps - 1) + j];
          if (at < 0) continue;
          float* const back = dx + at * lddx + c;
          *back = fma(t.w[c * t.taps + j], d, *back);
        }
      }
      for (int64_t j = 0; j < t.taps; ++j) {
        float* const to = dw + c * t.taps + j;
        *to = add(*to, sums[j * t.channels + c]);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    delta_gates_kernel(const float* x, int64_t ldx, const float* a_log, const float* dt_bias,
                       float* gates, int64_t m, int64_t heads) {
  const int64_t i = element();
  if (i >= m * heads) return;
  const int64_t row = i / heads, h = i % heads;
  const float* const from = x + row * ldx;
  float* const to = gates + row * 2 * heads;
  to[h] = sigmoid(from[h]);
  const float a = add(from[heads + h], dt_bias[h]);
  const float time = a > 20.0f ? a : log(add(1.0f, exp(a)));
  to[heads + h] = mul(sub(0.0f, exp(a_log[h])), time);
}

__global__ void __launch_bounds__(kThreads)
    delta_gates_backward_kernel(const float* dgates, const float* x, int64_t ldx,
                                const float* a_log, const float* dt_bias, const float* gates,
                                float* dx, int64_t lddx, float* partial, int64_t m, int64_t heads) {
  const int64_t i = element();
  if (i >= m * heads) return;
  const int64_t row = i / heads, h = i % heads, at = row * 2 * heads;
  const float beta = gates[at + h], dg = dgates[at + heads + h];
  float* const to = dx + row * lddx;
  to[h] = mul(dgates[at + h], mul(beta, sub(1.0f, beta)));
  const float a = add(x[row * ldx + heads + h], dt_bias[h]);
  const float da = mul(mul(dg, sub(0.0f, exp(a_log[h]))), sigmoid(a));
  to[heads + h] = da;
  partial[at + h] = mul(dg, gates[at + heads + h]);
  partial[at + heads + h] = da;
}

}  // namespace

void split_groups(Stream stream, const float* x, int64_t ldx, const GroupSplit& split, float* y,
                  int64_t ldy, int64_t m) {
  const int64_t width = split.group_width();
  launch(stream, split_groups_kernel, blocks(m * split.groups * width), kThreads, 0, x, ldx, split,
         width, y, ldy, m);
}

void join_groups(Stream stream, const float* y, int64_t ldy, const GroupSplit& split, float* x,
                 int64_t ldx, int64_t m) {
  const int64_t width = split.group_width();
  launch(stream, join_groups_kernel, blocks(m * split.groups * width), kThreads, 0, y, ldy, split,
         width, x, ldx, m);
}

void write_slots(Stream stream, float* slots, int64_t ldslot, int64_t column, const KvWrite* writes,
                 int64_t count, const float* x, int64_t ldx, int64_t width) {
  launch(stream, write_slots_kernel, blocks(count * width), kThreads, 0, slots, ldslot, column,
         writes, count, x, ldx, width);
}

void causal_conv(Stream stream, const ConvCall& call, float* y, int64_t ldy) {
  launch(stream, causal_conv_kernel, blocks(call.m * call.channels), kThreads, 0, call, y, ldy);
}

void causal_conv_backward(Stream stream, const ConvCall& call, const float* dy, int64_t lddy,
                          float* dx, int64_t lddx, float* dw, const RowBounds& parts, float* slopes,
                          float* sums) {
  launch(stream, conv_slopes_kernel, blocks(call.m * call.channels), kThreads, 0, call, dy, lddy,
         slopes, dx, lddx);
  launch(stream, conv_gradients_kernel, blocks(call.channels), kThreads, 0, call, slopes, dx, lddx,
         dw, parts, sums);
}

void delta_gates(Stream stream, const float* x, int64_t ldx, const float* a_log,
                 const float* dt_bias, float* gates, int64_t m, int64_t heads) {
  launch(stream, delta_gates_kernel, blocks(m * heads), kThreads, 0, x, ldx, a_log, dt_bias, gates,
         m, heads);
}

void delta_gates_backward(Stream stream, const float* dgates, const float* x, int64_t ldx,
                          const float* a_log, const float* dt_bias, const float* gates, float* dx,
                          int64_t lddx, float* da_log, float* ddt_bias, int64_t m, int64_t heads,
                          const RowBounds& parts, float* partial) {
  launch(stream, delta_gates_backward_kernel, blocks(m * heads), kThreads, 0, dgates, x, ldx, a_log,
         dt_bias, gates, dx, lddx, partial, m, heads);
  add_column_sums(stream, partial, 2 * heads, da_log, heads, parts);
  add_column_sums(stream, partial + heads, 2 * heads, ddt_bias, heads, parts);
}

}  // namespace zeroth::kernels::cuda

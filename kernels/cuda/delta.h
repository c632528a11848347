// The gated delta net on a device: what kernels/delta.h does, in its order of sums. All pointers are
// the device's, those inside structures too. Calls start kernels on a stream and return.
#pragma once

#include <cstdint>

#include "kernels/cuda/products.h"
#include "kernels/delta.h"

namespace zeroth::kernels::cuda {

void split_groups(Stream stream, const float* x, int64_t ldx, const GroupSplit& split, float* y,
                  int64_t ldy, int64_t m);
void join_groups(Stream stream, const float* y, int64_t ldy, const GroupSplit& split, float* x,
                 int64_t ldx, int64_t m);
void write_slots(Stream stream, float* slots, int64_t ldslot, int64_t column, const KvWrite* writes,
                 int64_t count, const float* x, int64_t ldx, int64_t width);

// Rows of a convolution; past [m, taps - 1].
struct ConvCall {
  const float* x = nullptr;
  int64_t ldx = 0;
  const float* w = nullptr;  // [channels, taps]
  int64_t taps = 0;
  const int64_t* past = nullptr;
  const float* slots = nullptr;
  int64_t ldslot = 0, m = 0, channels = 0;
};
void causal_conv(Stream stream, const ConvCall& call, float* y, int64_t ldy);
// slopes: m * channels floats of space; sums: taps * channels.
void causal_conv_backward(Stream stream, const ConvCall& call, const float* dy, int64_t lddy,
                          float* dx, int64_t lddx, float* dw, const RowBounds& parts, float* slopes,
                          float* sums);

void delta_gates(Stream stream, const float* x, int64_t ldx, const float* a_log,
                 const float* dt_bias, float* gates, int64_t m, int64_t heads);
// partial: m * 2 * heads floats of space.
void delta_gates_backward(Stream stream, const float* dgates, const float* x, int64_t ldx,
                          const float* a_log, const float* dt_bias, const float* gates, float* dx,
                          int64_t lddx, float* da_log, float* ddt_bias, int64_t m, int64_t heads,
                          const RowBounds& parts, float* partial);

struct DeltaRuleCall {
  DeltaShape shape;
  const float* q = nullptr;
  int64_t ldq = 0;
  const float* v = nullptr;
  int64_t ldv = 0;
  const float* gates = nullptr;
  const DeltaRun* runs = nullptr;
  const int32_t* sets = nullptr;
  int64_t set_count = 0, longest = 0;
  const int32_t* page_table = nullptr;
  const float* slots = nullptr;
  float* states = nullptr;
  float* memory = nullptr;  // backward: only read
};
// space: delta_rule_space() floats.
int64_t delta_rule_space(const DeltaRuleCall& call);
void delta_rule(Stream stream, const DeltaRuleCall& call, float* out, int64_t ldout, float* space);

struct DeltaRuleGradients {
  const float* dout = nullptr;
  int64_t lddout = 0;
  float* dq = nullptr;
  int64_t lddq = 0;
  float* dk = nullptr;
  int64_t lddk = 0;
  float* dv = nullptr;
  int64_t lddv = 0;
  float* dgates = nullptr;
};
int64_t delta_rule_backward_space(const DeltaRuleCall& call);
void delta_rule_backward(Stream stream, const DeltaRuleCall& call, const DeltaRuleGradients& g,
                         float* space);

}  // namespace zeroth::kernels::cuda

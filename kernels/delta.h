// The gated delta net (Yang, Kautz and Hatamizadeh, "Gated Delta Networks", 2024, equation 10; as in
// Qwen3-Next): a causal convolution, gates, and a state that is decayed and corrected token by
// token. What all operators promise: kernels/ops.h.
//
// A value head has a state S [key_dim, value_dim], zeros in front of position 0. A token with key k,
// query q, value v, decay g <= 0 and strength beta makes S = exp(g) S + k u^T with u = beta (v -
// exp(g) S^T k) and gives S^T q. Computed is the same by pages of 16 positions: with c the sum of
// decays since the page began and S the state there,
//   u_i = beta_i (v_i - exp(c_i) S^T k_i - sum_{j < i} exp(c_i - c_j) (k_j k_i) u_j)
//   out_i = exp(c_i) S^T q_i + sum_{j <= i} exp(c_i - c_j) (k_j q_i) u_j
//   S behind the page = exp(c_15) S + sum_j exp(c_15 - c_j) k_j u_j^T
// so a row is a function of its sequence up to it, wherever a call begins or ends.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention.h"
#include "kernels/parts.h"

namespace zeroth::kernels {

// value_heads is a multiple of key_heads; value head h has key head h / (value_heads / key_heads).
struct DeltaShape {
  int key_heads = 0, value_heads = 0, key_dim = 0, value_dim = 0;

  int64_t keys() const { return int64_t{key_heads} * key_dim; }
  int64_t values() const { return int64_t{value_heads} * value_dim; }
  int64_t channels() const { return 2 * keys() + values(); }  // [queries | keys | values]
  int share() const { return value_heads / key_heads; }
  // What later tokens need of one: [keys | u | c], c [value_heads].
  int64_t memory() const { return keys() + values() + value_heads; }
  // The same in the cache, behind what the convolution read: [channels | memory].
  int64_t slot() const { return channels() + memory(); }
  // Floats of the states of all heads.
  int64_t state() const { return int64_t{value_heads} * key_dim * value_dim; }
};

// Neighbouring rows of one sequence in a call. Tokens in front of its first position are rows of
// another run of the call, or in the cache.
struct DeltaRun {
  int32_t first = 0, rows = 0;  // rows [first, first + rows) at positions ..
  int32_t position = 0;         // .. from here on
  int32_t parent = -1;          // the run whose last row is the token before; -1: none
  int32_t pages = 0;            // where its sequence's pages begin in the page table
  int32_t base = -1;            // of the states: that behind the first base_pages pages; -1: zeros
  int32_t base_pages = 0;
  int32_t keep = -1;  // of the states: gets that behind the last page which the run fills; -1: none
};
// Sets of runs: [sets[i], sets[i + 1]), the first without a parent, which is that of the others.
template <class Where>
struct DeltaRunsIn {
  typename Where::template View<const DeltaRun> runs;
  typename Where::template View<const int32_t> sets;  // one more than there are
  typename Where::template View<const int32_t> page_table;
  typename Where::template At<const float> slots;  // [pages * 16, slot()] of the cache
  typename Where::template At<float> states;       // [.., value_heads, key_dim, value_dim]
  int64_t longest = 0;                             // pages that one run has tokens in, at most
};
using DeltaRuns = DeltaRunsIn<InHost>;
using DeviceDeltaRuns = DeltaRunsIn<OnDevice>;

// Parts of `width[p]` stand beside each other in each of `groups` groups of a row of x; in y those of
// all groups stand beside each other from column to[p] on (-1: nowhere).
struct GroupSplit {
  static constexpr int kMost = 4;
  int64_t groups = 1;
  int parts = 0;
  int64_t width[kMost] = {}, to[kMost] = {};
  int64_t group_width() const {
    int64_t n = 0;
    for (int p = 0; p < parts; ++p) n += width[p];
    return n;
  }
};
void split_groups(const float* x, int64_t ldx, const GroupSplit& split, float* y, int64_t ldy,
                  int64_t m);
// Its inverse; parts that go nowhere are left as they are.
void join_groups(const float* y, int64_t ldy, const GroupSplit& split, float* x, int64_t ldx,
                 int64_t m);

// slots[write.slot, column ..] = x[write.row], rows of `width`.
void write_slots(float* slots, int64_t ldslot, int64_t column, std::span<const KvWrite> writes,
                 const float* x, int64_t ldx, int64_t width);

// y [m, channels] = silu of the sum over j of w[channel, j] times the row taps - 1 - j before, which
// is past[row, j] (the last tap: the row itself): a row of x, -2 - a slot, or -1: in front of the
// sequence.
void causal_conv(const float* x, int64_t ldx, const float* w, int64_t taps,
                 std::span<const int64_t> past, const float* slots, int64_t ldslot, float* y,
                 int64_t ldy, int64_t m, int64_t channels);
// dx (=) of the rows of x, dw [channels, taps] +=.
void causal_conv_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                          const float* w, int64_t taps, std::span<const int64_t> past,
                          const float* slots, int64_t ldslot, float* dx, int64_t lddx, float* dw,
                          int64_t m, int64_t channels, RowParts parts = {});

// x [m, beta | a] -> gates [m, beta | g]: sigmoid of the first, g = -exp(a_log) softplus(a +
// dt_bias).
void delta_gates(const float* x, int64_t ldx, const float* a_log, const float* dt_bias,
                 float* gates, int64_t m, int64_t heads);
// dx (=), da_log [heads] and ddt_bias [heads] +=.
void delta_gates_backward(const float* dgates, const float* x, int64_t ldx, const float* a_log,
                          const float* dt_bias, const float* gates, float* dx, int64_t lddx,
                          float* da_log, float* ddt_bias, int64_t m, int64_t heads,
                          RowParts parts = {});

// q [m, key_heads * key_dim] and the keys in `memory` as they are multiplied, v [m, values], gates
// [m, beta | g] -> out [m, values], and u and c of `memory` [m, memory()]. States are kept.
void delta_rule(const DeltaShape& shape, const float* q, int64_t ldq, const float* v, int64_t ldv,
                const float* gates, const DeltaRuns& runs, float* memory, float* out,
                int64_t ldout);
// dq, dk (of the keys in memory), dv and dgates, all (=). What the cache holds is constant.
void delta_rule_backward(const DeltaShape& shape, const float* q, int64_t ldq, const float* v,
                         int64_t ldv, const float* gates, const DeltaRuns& runs,
                         const float* memory, const float* dout, int64_t lddout, float* dq,
                         int64_t lddq, float* dk, int64_t lddk, float* dv, int64_t lddv,
                         float* dgates);

}  // namespace zeroth::kernels

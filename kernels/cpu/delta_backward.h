// The gated delta net: one head over one page, backward.
#pragma once

#include "kernels/cpu/delta.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// What flows back through the state behind a whole page, which dstate is the gradient of.
inline void delta_next_backward(DeltaPageBackward& t) {
  const DeltaPage& p = t.page;
  const int last = kDeltaPage - 1;
  float c[kDeltaPage], decay[kDeltaPage];
  for (int j = 0; j < kDeltaPage; ++j) c[j] = p.c[j];
  store(decay, exp(sub(splat(c[last]), load(c))));
  // du_j += exp(c_15 - c_j) D^T k_j, whose product with u_j is what the decay's gradient needs.
  float along[kDeltaPage] = {};
  for_lanes(p.value_dim, [&](int64_t i, int lanes) {
    float by_key[kDeltaPage][kLanes];
    all_state_sums(p.k, kDeltaPage, t.dstate, p.key_dim, p.value_dim, i, lanes, by_key);
    for (int j = 0; j < kDeltaPage; ++j) {
      const Vec product = mul(splat(decay[j]), load(by_key[j]));
      along[j] = along[j] + sum_lanes(mul(product, load_part(p.u[j] + i, lanes)));
      store_part(t.du[j] + i, add(load_part(t.du[j] + i, lanes), product), lanes);
    }
  });
  for (int j = 0; j < kDeltaPage; ++j) {
    t.dc[last] = t.dc[last] + along[j];
    t.dc[j] = t.dc[j] - along[j];
    if (t.dk[j]) add_state_product(decay[j], t.dstate, p.u[j], t.dk[j], p.key_dim, p.value_dim);
  }
  if (!p.state) return;
  float through[kLanes];
  store(through, exp(splat(c[last])));
  float sum = 0;
  for (int64_t d = 0; d < p.key_dim; ++d)
    sum = sum + dot_row(p.state + d * p.value_dim, t.dstate + d * p.value_dim, p.value_dim);
  t.dc[last] = __builtin_fmaf(through[0], sum, t.dc[last]);
}

// dstate, of the state behind (of that in front when the page is short) -> of the state in front.
inline void delta_state_backward(DeltaPageBackward& t, const DeltaWeights& w, float through) {
  const DeltaPage& p = t.page;
  if (!p.state) return;  // constant zeros
  float by_query[kDeltaPage], by_key[kDeltaPage];
  for (int64_t d = 0; d < p.key_dim; ++d) {
    for (int row = p.known; row < p.rows; ++row) {
      by_query[row] = w.begin[row] * p.q[row][d];
      by_key[row] = w.begin[row] * p.k[row][d];
    }
    float* const to = t.dstate + d * p.value_dim;
    for_lanes(p.value_dim, [&](int64_t i, int lanes) {
      Vec s = mul(splat(through), load_part(to + i, lanes));
      for (int row = p.known; row < p.rows; ++row) {
        s = fma(splat(by_query[row]), load_part(t.dout[row] + i, lanes), s);
        s = fnma(splat(by_key[row]), load_part(t.dv[row] + i, lanes), s);
      }
      store_part(to + i, s, lanes);
    });
  }
}

// What a pair of rows j <= i gives, once dv_i is known: u_j meets dout_i and dv_i.
inline void delta_pair_backward(DeltaPageBackward& t, const DeltaWeights& w, int i, int j) {
  const DeltaPage& p = t.page;
  const float by_out = dot_row(p.u[j], t.dout[i], p.value_dim);
  add_scaled(w.decay[i][j] * by_out, p.k[j], t.dq[i], p.key_dim);
  if (t.dk[j]) add_scaled(w.decay[i][j] * by_out, p.q[i], t.dk[j], p.key_dim);
  float moved = w.queries[i][j] * by_out;
  if (j < i) {
    const float by_u = dot_row(p.u[j], t.dv[i], p.value_dim);
    if (t.dk[j]) add_scaled(0.0f - w.decay[i][j] * by_u, p.k[i], t.dk[j], p.key_dim);
    add_scaled(0.0f - w.decay[i][j] * by_u, p.k[j], t.dk[i], p.key_dim);
    moved = moved - w.keys[i][j] * by_u;
  }
  t.dc[i] = t.dc[i] + moved;
  t.dc[j] = t.dc[j] - moved;
}

// dv and dbeta of all computed rows, last row first; du of rows before them.
inline void delta_values_backward(DeltaPageBackward& t, const DeltaWeights& w) {
  const DeltaPage& p = t.page;
  for (int row = p.rows - 1; row >= p.known; --row)
    for (int j = 0; j <= row; ++j) add_scaled(w.queries[row][j], t.dout[row], t.du[j], p.value_dim);
  for (int row = p.rows - 1; row >= p.known; --row) {
    const Vec beta = splat(p.beta[row]);
    for_lanes(p.value_dim, [&](int64_t i, int lanes) {
      store_part(t.dv[row] + i, mul(beta, load_part(t.du[row] + i, lanes)), lanes);
    });
    for (int j = 0; j < row; ++j)
      add_scaled(0.0f - w.keys[row][j], t.dv[row], t.du[j], p.value_dim);
  }
}

// Terms of the state in front: what keys and queries read of it. dbeta, too, which needs that.
inline void delta_reads_backward(DeltaPageBackward& t, const DeltaWeights& w) {
  const DeltaPage& p = t.page;
  const int count = p.rows - p.known;
  float of_key[kDeltaPage] = {}, of_query[kDeltaPage] = {};
  for (int row = p.known; row < p.rows; ++row) t.dbeta[row] = 0;
  for_lanes(p.value_dim, [&](int64_t i, int lanes) {
    float by_key[kDeltaPage][kLanes], by_query[kDeltaPage][kLanes];
    all_state_sums(p.k + p.known, count, p.state, p.key_dim, p.value_dim, i, lanes, by_key);
    all_state_sums(p.q + p.known, count, p.state, p.key_dim, p.value_dim, i, lanes, by_query);
    for (int row = p.known; row < p.rows; ++row) {
      const Vec read = load(by_key[row - p.known]), asked = load(by_query[row - p.known]);
      Vec error = fnma(splat(w.begin[row]), read, load_part(p.v[row] + i, lanes));
      for (int j = 0; j < row; ++j)
        error = fnma(splat(w.keys[row][j]), load_part(p.u[j] + i, lanes), error);
      const Vec du = load_part(t.du[row] + i, lanes), dv = load_part(t.dv[row] + i, lanes);
      t.dbeta[row] = t.dbeta[row] + sum_lanes(mul(du, error));
      of_key[row] = of_key[row] + sum_lanes(mul(dv, read));
      of_query[row] = of_query[row] + sum_lanes(mul(load_part(t.dout[row] + i, lanes), asked));
    }
  });
  if (!p.state) return;
  for (int row = p.known; row < p.rows; ++row) {
    const float begin = w.begin[row];
    t.dc[row] = __builtin_fmaf(begin, of_query[row] - of_key[row], t.dc[row]);
    add_state_product(begin, p.state, t.dout[row], t.dq[row], p.key_dim, p.value_dim);
    add_state_product(0.0f - begin, p.state, t.dv[row], t.dk[row], p.key_dim, p.value_dim);
  }
}

inline void delta_page_backward(DeltaPageBackward& t) {
  const DeltaPage& p = t.page;
  DeltaWeights w;
  delta_weights(p, w);
  float through[kLanes];
  store(through, t.through ? exp(splat(p.c[kDeltaPage - 1])) : splat(1.0f));
  if (t.through) delta_next_backward(t);
  delta_values_backward(t, w);
  delta_reads_backward(t, w);
  for (int i = p.known; i < p.rows; ++i)
    for (int j = 0; j <= i; ++j) delta_pair_backward(t, w, i, j);
  delta_state_backward(t, w, through[0]);
}

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

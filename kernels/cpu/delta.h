// The gated delta net: convolution, gates, and one head over one page, forward and backward.
#pragma once

#include "kernels/cpu/delta_args.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

// --- convolution

// Where tap j of a row reads; null: in front of the sequence.
ZEROTH_INLINE const float* tap_of(const ConvRows& t, int64_t row, int64_t j) {
  if (j + 1 == t.taps) return t.x + row * t.ldx;
  const int64_t at = t.past[row * (t.taps - 1) + j];
  return at >= 0 ? t.x + at * t.ldx : at == -1 ? nullptr : t.slots + (-2 - at) * t.ldslot;
}

ZEROTH_INLINE Vec conv_sum(const ConvRows& t, int64_t row, int64_t i, int lanes) {
  Vec sum = splat(0.0f);
  for (int64_t j = 0; j < t.taps; ++j) {
    const float* const from = tap_of(t, row, j);
    if (!from) continue;
    sum = fma(load_part(t.w + j * t.channels + i, lanes), load_part(from + i, lanes), sum);
  }
  return sum;
}

inline void conv_rows(const ConvRows& t, float* y, int64_t ldy, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row)
    for_lanes(t.channels, [&](int64_t i, int lanes) {
      const Vec z = conv_sum(t, row, i, lanes);
      const Vec below = add(splat(1.0f), exp(sub(splat(0.0f), z)));
      store_part(y + row * ldy + i, div(z, below), lanes);
    });
}

// dz [rows of the call, channels] of the sums, from dy.
inline void conv_slopes(const ConvRows& t, const float* dy, int64_t lddy, float* dz, int64_t begin,
                        int64_t end) {
  const Vec one = splat(1.0f);
  for (int64_t row = begin; row < end; ++row)
    for_lanes(t.channels, [&](int64_t i, int lanes) {
      const Vec z = conv_sum(t, row, i, lanes), s = sigmoid(z);
      const Vec slope = mul(s, fma(z, sub(one, s), one));
      store_part(dz + row * t.channels + i, mul(load_part(dy + row * lddy + i, lanes), slope),
                 lanes);
    });
}

// Channels [i, i + lanes) of rows [begin, end): dx += of the rows that are read, sum [taps, channels]
// += .
inline void conv_gradients(const ConvRows& t, const float* dz, float* dx, int64_t lddx, float* sum,
                           int64_t begin, int64_t end, int64_t i, int lanes) {
  for (int64_t row = begin; row < end; ++row) {
    const Vec d = load_part(dz + row * t.channels + i, lanes);
    for (int64_t j = 0; j < t.taps; ++j) {
      const float* const from = tap_of(t, row, j);
      if (!from) continue;
      float* const to = sum + j * t.channels + i;
      store_part(to, fma(d, load_part(from + i, lanes), load_part(to, lanes)), lanes);
      const int64_t at = j + 1 == t.taps ? row : t.past[row * (t.taps - 1) + j];
      if (at < 0) continue;
      float* const back = dx + at * lddx + i;
      const Vec w = load_part(t.w + j * t.channels + i, lanes);
      store_part(back, fma(w, d, load_part(back, lanes)), lanes);
    }
  }
}

// --- gates

// log(1 + exp(x)), x above 20 as it is.
ZEROTH_INLINE Vec softplus(Vec x, int lanes) {
  float in[kLanes], sum[kLanes];
  store(in, x);
  store(sum, add(splat(1.0f), exp(x)));
  for (int j = 0; j < lanes; ++j)
    if (!(in[j] > 20.0f)) in[j] = log(sum[j]);
  return load(in);
}

inline void delta_gates(const float* x, const float* a_log, const float* dt_bias, float* gates,
                        int64_t heads) {
  for_lanes(heads, [&](int64_t i, int lanes) {
    store_part(gates + i, sigmoid(load_part(x + i, lanes)), lanes);
    const Vec time =
        softplus(add(load_part(x + heads + i, lanes), load_part(dt_bias + i, lanes)), lanes);
    const Vec rate = sub(splat(0.0f), exp(load_part(a_log + i, lanes)));
    store_part(gates + heads + i, mul(rate, time), lanes);
  });
}

// One row; d [a_log | dt_bias] (=) is the row's part of their gradients.
inline void delta_gates_backward(const float* dgates, const float* x, const float* a_log,
                                 const float* dt_bias, const float* gates, float* dx, float* d,
                                 int64_t heads) {
  for_lanes(heads, [&](int64_t i, int lanes) {
    const Vec beta = load_part(gates + i, lanes), one = splat(1.0f);
    store_part(dx + i, mul(load_part(dgates + i, lanes), mul(beta, sub(one, beta))), lanes);
    const Vec dg = load_part(dgates + heads + i, lanes);
    const Vec a = add(load_part(x + heads + i, lanes), load_part(dt_bias + i, lanes));
    const Vec rate = sub(splat(0.0f), exp(load_part(a_log + i, lanes)));
    const Vec da = mul(mul(dg, rate), sigmoid(a));
    store_part(dx + heads + i, da, lanes);
    store_part(d + i, mul(dg, load_part(gates + heads + i, lanes)), lanes);
    store_part(d + heads + i, da, lanes);
  });
}

// --- one head over one page

// exp(c_i - c_j) of all j <= i < rows, and products with queries and keys.
struct DeltaWeights {
  float decay[kDeltaPage][kDeltaPage];    // exp(c_i - c_j)
  float keys[kDeltaPage][kDeltaPage];     // exp(c_i - c_j) (k_j k_i), j < i
  float queries[kDeltaPage][kDeltaPage];  // exp(c_i - c_j) (k_j q_i)
  float begin[kDeltaPage];                // exp(c_i)
};

inline void delta_weights(const DeltaPage& t, DeltaWeights& w) {
  float c[kDeltaPage] = {};
  for (int j = 0; j < t.rows; ++j) c[j] = t.c[j];
  store(w.begin, exp(load(c)));
  for (int i = t.known; i < t.rows; ++i) {
    store(w.decay[i], exp(sub(splat(c[i]), load(c))));
    for (int j = 0; j <= i; ++j) {
      w.queries[i][j] = w.decay[i][j] * dot_row(t.k[j], t.q[i], t.key_dim);
      if (j < i) w.keys[i][j] = w.decay[i][j] * dot_row(t.k[j], t.k[i], t.key_dim);
    }
  }
}

// sums[n] = chain over d ascending from +0 of fma(by[n][d], state[d, i ..]).
template <int kRows>
ZEROTH_INLINE void state_sums(const float* const* by, const float* state, int64_t key_dim,
                              int64_t value_dim, int64_t i, int lanes, float (*sums)[kLanes]) {
  Vec acc[kRows];
  unrolled<kRows>([&](auto n) ZEROTH_INLINED { acc[n] = splat(0.0f); });
  for (int64_t d = 0; d < key_dim; ++d) {
    const Vec s = load_part(state + d * value_dim + i, lanes);
    unrolled<kRows>([&](auto n) ZEROTH_INLINED { acc[n] = fma(splat(by[n][d]), s, acc[n]); });
  }
  unrolled<kRows>([&](auto n) ZEROTH_INLINED { store(sums[n], acc[n]); });
}
// The same for n rows; zeros where there is no state.
inline void all_state_sums(const float* const* by, int n, const float* state, int64_t key_dim,
                           int64_t value_dim, int64_t i, int lanes, float (*sums)[kLanes]) {
  int at = 0;
  if (!state) {
    for (; at < n; ++at) store(sums[at], splat(0.0f));
    return;
  }
  for (; at + 8 <= n; at += 8)
    state_sums<8>(by + at, state, key_dim, value_dim, i, lanes, sums + at);
  for (; at + 2 <= n; at += 2)
    state_sums<2>(by + at, state, key_dim, value_dim, i, lanes, sums + at);
  if (at < n) state_sums<1>(by + at, state, key_dim, value_dim, i, lanes, sums + at);
}

// The state behind a whole page.
inline void delta_next(const DeltaPage& t) {
  float c[kDeltaPage], decay[kDeltaPage];
  for (int j = 0; j < kDeltaPage; ++j) c[j] = t.c[j];
  const float last = c[kDeltaPage - 1];
  store(decay, exp(sub(splat(last), load(c))));
  float through[kLanes];
  store(through, exp(splat(last)));
  for_lanes(t.value_dim, [&](int64_t i, int lanes) {
    for (int64_t d = 0; d < t.key_dim; ++d) {
      Vec s = splat(0.0f);
      if (t.state) s = mul(splat(through[0]), load_part(t.state + d * t.value_dim + i, lanes));
      for (int j = 0; j < kDeltaPage; ++j)
        s = fma(splat(decay[j] * t.k[j][d]), load_part(t.u[j] + i, lanes), s);
      store_part(t.next + d * t.value_dim + i, s, lanes);
    }
  });
}

inline void delta_page(const DeltaPage& t) {
  DeltaWeights w;
  const int count = t.rows - t.known;
  if (count > 0) {
    delta_weights(t, w);
    for_lanes(t.value_dim, [&](int64_t i, int lanes) {
      float by_key[kDeltaPage][kLanes], by_query[kDeltaPage][kLanes];
      all_state_sums(t.k + t.known, count, t.state, t.key_dim, t.value_dim, i, lanes, by_key);
      all_state_sums(t.q + t.known, count, t.state, t.key_dim, t.value_dim, i, lanes, by_query);
      for (int row = t.known; row < t.rows; ++row) {
        const Vec begin = splat(w.begin[row]);
        Vec u = fnma(begin, load(by_key[row - t.known]), load_part(t.v[row] + i, lanes));
        Vec out = mul(begin, load(by_query[row - t.known]));
        for (int j = 0; j < row; ++j) {
          const Vec before = load_part(t.u[j] + i, lanes);
          u = fnma(splat(w.keys[row][j]), before, u);
          out = fma(splat(w.queries[row][j]), before, out);
        }
        u = mul(splat(t.beta[row]), u);
        store_part(t.u[row] + i, u, lanes);
        store_part(t.out[row] + i, fma(splat(w.queries[row][row]), u, out), lanes);
      }
    });
  }
  if (t.next && t.rows == kDeltaPage) delta_next(t);
}

// --- backward of one page

// y += a x.
ZEROTH_INLINE void add_scaled(float a, const float* x, float* y, int64_t n) {
  const Vec scale = splat(a);
  for_lanes(n, [&](int64_t i, int lanes) {
    store_part(y + i, fma(scale, load_part(x + i, lanes), load_part(y + i, lanes)), lanes);
  });
}

// y[d] += a <state[d], x>.
ZEROTH_INLINE void add_state_product(float a, const float* state, const float* x, float* y,
                                     int64_t key_dim, int64_t value_dim) {
  for (int64_t d = 0; d < key_dim; ++d)
    y[d] = __builtin_fmaf(a, dot_row(state + d * value_dim, x, value_dim), y[d]);
}

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

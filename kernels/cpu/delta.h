// The gated delta net (kernels/delta.h): one head over one page.
#pragma once

#include "kernels/cpu/delta_args.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/rows.h"

namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE {

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

}  // namespace zeroth::kernels::ZEROTH_VEC_NAMESPACE

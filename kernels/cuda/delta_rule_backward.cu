// The recurrence of the gated delta net backward: a block has a key head of a set of runs, and takes
// its value heads one after the other, children before the root, pages from the last to the first.
#include "kernels/cuda/delta_page.cuh"

namespace zeroth::kernels::cuda {
namespace {

constexpr int kHalves = kDeltaThreads / kLanes;

// What a block keeps beside the page, in shared memory.
struct BackwardShared {
  DeltaPageShared page;
  float by_out[kPage * kPage], by_u[kPage * kPage];  // <u_j, dout_i>, <u_j, dv_i>
  float along[kPage], dbeta[kPage], of_key[kPage], of_query[kPage];
  float dc[kPage], dc_last[kPage];  // of the page; of the root's last page
  float through;
};

// Arrays of a block, in the space of the call.
struct BackwardSpace {
  float *dstate, *dbehind;  // of the state at hand; of that behind the root
  float *du_page, *unused,
      *du_last;  // [16, value_dim] of a page; of cached rows; of the root's last
  float *base, *states, *child_states;
};

// One value head of a set.
struct BackwardHead {
  const DeltaHead of;
  const DeltaRuleGradients& g;
  const BackwardSpace& s;
  BackwardShared& m;

  // Of row j of the page at hand.
  ZEROTH_DEVICE float* dk(int j) const {
    const int64_t row = m.page.row[j];
    return row < 0 ? nullptr : g.dk + row * g.lddk + of.key();
  }
  ZEROTH_DEVICE float* dq(int j) const { return g.dq + m.page.row[j] * g.lddq + of.key(); }
  ZEROTH_DEVICE float* dv(int j) const {
    return g.dv + m.page.row[j] * g.lddv + of.head * of.t.value_dim;
  }
  ZEROTH_DEVICE const float* dout(int j) const {
    return g.dout + m.page.row[j] * g.lddout + of.head * of.t.value_dim;
  }
  ZEROTH_DEVICE const float* u(int j) const { return m.page.memory[j] + of.u(); }
  ZEROTH_DEVICE const float* k(int j) const { return m.page.memory[j] + of.key(); }
  ZEROTH_DEVICE const float* q(int j) const {
    return of.t.call.q + m.page.row[j] * of.t.call.ldq + of.key();
  }
};

// Which gradients of u a page's rows have.
struct RowsOfU {
  float *page, *unused, *last;
  const DeltaPageShared& shared;
  int64_t width;
  bool whole_last;  // all rows are of the root's last page
  int last_rows;    // so many are
  ZEROTH_DEVICE float* operator()(int j) const {
    float* const from = shared.row[j] < 0 ? unused : whole_last || j < last_rows ? last : page;
    return from + j * width;
  }
};

// Through the state behind a whole page, whose gradient dstate is.
ZEROTH_DEVICE void next_backward(const BackwardHead& b, const float* state, const RowsOfU& du) {
  const DeltaSizes& t = b.of.t;
  const int64_t width = t.value_dim, dim = t.key_dim;
  const int lane = static_cast<int>(threadIdx.x) % kLanes,
            half = static_cast<int>(threadIdx.x) / kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool first = threadIdx.x % kWarp == 0;
  const float last = b.m.page.c[kPage - 1];
  for (int j = half; j < kPage; j += kHalves) {
    const float decay = exp(sub(last, b.m.page.c[j]));
    float along = 0.0f;
    for (int64_t at = 0; at < width; at += kLanes) {
      const int64_t e = at + lane;
      const bool there = e < width;
      const float product = there ? mul(decay, state_sum(b.k(j), b.s.dstate, e, dim, width)) : 0.0f;
      along = add(along, sum_lanes(mul(product, there ? b.u(j)[e] : 0.0f)));
      if (there) du(j)[e] = add(du(j)[e], product);
    }
    if (lane == 0) b.m.along[j] = along;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int j = 0; j < kPage; ++j) {
      b.m.dc[kPage - 1] = add(b.m.dc[kPage - 1], b.m.along[j]);
      b.m.dc[j] = sub(b.m.dc[j], b.m.along[j]);
    }
  }
  for (int64_t at = warp; at < kPage * dim; at += kDeltaWarps) {
    const int j = static_cast<int>(at / dim);
    const int64_t d = at % dim;
    float* const to = b.dk(j);
    if (!to) continue;
    const float by = warp_dot(b.s.dstate + d * width, b.u(j), width);
    if (first) to[d] = fma(exp(sub(last, b.m.page.c[j])), by, to[d]);
  }
  __syncthreads();
  if (!state) return;
  if (warp == 0) {
    float sum = 0.0f;
    for (int64_t d = 0; d < dim; ++d) {
      sum = add(sum, warp_dot(state + d * width, b.s.dstate + d * width, width));
    }
    if (first) b.m.dc[kPage - 1] = fma(exp(last), sum, b.m.dc[kPage - 1]);
  }
  __syncthreads();
}

// dv of all computed rows, last row first; du of rows before them. In the thread's columns.
ZEROTH_DEVICE void values_backward(const BackwardHead& b, const DeltaRange& range,
                                   const RowsOfU& du) {
  const int64_t heads = b.of.t.heads;
  for (int64_t e = threadIdx.x; e < b.of.t.value_dim; e += kDeltaThreads) {
    for (int i = range.rows - 1; i >= range.known; --i) {
      const float by = b.dout(i)[e];
      for (int j = 0; j <= i; ++j) {
        du(j)[e] = fma(b.m.page.queries[i * kPage + j], by, du(j)[e]);
      }
    }
    for (int i = range.rows - 1; i >= range.known; --i) {
      const float beta = b.of.t.call.gates[b.m.page.row[i] * 2 * heads + b.of.head];
      const float dv = mul(beta, du(i)[e]);
      b.dv(i)[e] = dv;
      for (int j = 0; j < i; ++j) {
        du(j)[e] = fma(sub(0.0f, b.m.page.keys[i * kPage + j]), dv, du(j)[e]);
      }
    }
  }
  __syncthreads();
}

// What keys and queries read of the state in front; dbeta.
ZEROTH_DEVICE void reads_backward(const BackwardHead& b, const DeltaRange& range,
                                  const float* state, const RowsOfU& du) {
  const DeltaSizes& t = b.of.t;
  const int64_t width = t.value_dim, dim = t.key_dim;
  const int lane = static_cast<int>(threadIdx.x) % kLanes,
            half = static_cast<int>(threadIdx.x) / kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool first = threadIdx.x % kWarp == 0;
  // Both halves of a warp go on together: one may have no row.
  for (int base = range.known; base < range.rows; base += kHalves) {
    const int i = base + half;
    const bool live = i < range.rows;
    float dbeta = 0.0f, of_key = 0.0f, of_query = 0.0f;
    for (int64_t at = 0; at < width; at += kLanes) {
      const int64_t e = at + lane;
      const bool there = live && e < width;
      float by_beta = 0.0f, by_key = 0.0f, by_query = 0.0f;
      if (there) {
        const float read = state_sum(b.k(i), state, e, dim, width);
        const float asked = state_sum(b.q(i), state, e, dim, width);
        float error = fma(-b.m.page.begin[i], read,
                          t.call.v[b.m.page.row[i] * t.call.ldv + b.of.head * width + e]);
        for (int j = 0; j < i; ++j) error = fma(-b.m.page.keys[i * kPage + j], b.u(j)[e], error);
        by_beta = mul(du(i)[e], error);
        by_key = mul(b.dv(i)[e], read);
        by_query = mul(b.dout(i)[e], asked);
      }
      dbeta = add(dbeta, sum_lanes(by_beta));
      of_key = add(of_key, sum_lanes(by_key));
      of_query = add(of_query, sum_lanes(by_query));
    }
    if (!live || lane != 0) continue;
    b.m.dbeta[i] = dbeta;
    if (state) b.m.dc[i] = fma(b.m.page.begin[i], sub(of_query, of_key), b.m.dc[i]);
  }
  __syncthreads();
  if (!state) return;
  for (int64_t at = warp; at < (range.rows - range.known) * dim; at += kDeltaWarps) {
    const int i = range.known + static_cast<int>(at / dim);
    const int64_t d = at % dim;
    const float begin = b.m.page.begin[i];
    const float asked = warp_dot(state + d * width, b.dout(i), width);
    const float read = warp_dot(state + d * width, b.dv(i), width);
    if (!first) continue;
    b.dq(i)[d] = fma(begin, asked, b.dq(i)[d]);
    b.dk(i)[d] = fma(sub(0.0f, begin), read, b.dk(i)[d]);
  }
  __syncthreads();
}

// What pairs of rows j <= i give.
ZEROTH_DEVICE void pairs_backward(const BackwardHead& b, const DeltaRange& range) {
  const DeltaPageShared& page = b.m.page;
  const int64_t width = b.of.t.value_dim;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const bool first = threadIdx.x % kWarp == 0;
  for (int at = range.known * kPage + warp; at < range.rows * kPage; at += kDeltaWarps) {
    const int i = at / kPage, j = at % kPage;
    if (j > i) continue;
    const float by_out = warp_dot(b.u(j), b.dout(i), width);
    const float by_u = j < i ? warp_dot(b.u(j), b.dv(i), width) : 0.0f;
    if (first) b.m.by_out[at] = by_out;
    if (first) b.m.by_u[at] = by_u;
  }
  __syncthreads();
  for (int64_t d = threadIdx.x; d < b.of.t.key_dim; d += kDeltaThreads) {
    for (int i = range.known; i < range.rows; ++i) {
      for (int j = 0; j <= i; ++j) {
        const int at = i * kPage + j;
        const float by_out = mul(page.decay[at], b.m.by_out[at]);
        float* const other = b.dk(j);
        b.dq(i)[d] = fma(by_out, b.k(j)[d], b.dq(i)[d]);
        if (other) other[d] = fma(by_out, b.q(i)[d], other[d]);
        if (j == i) continue;
        const float by_u = sub(0.0f, mul(page.decay[at], b.m.by_u[at]));
        if (other) other[d] = fma(by_u, b.k(i)[d], other[d]);
        b.dk(i)[d] = fma(by_u, b.k(j)[d], b.dk(i)[d]);
      }
    }
  }
  if (threadIdx.x == 0) {
    for (int i = range.known; i < range.rows; ++i) {
      for (int j = 0; j <= i; ++j) {
        const int at = i * kPage + j;
        float moved = mul(page.queries[at], b.m.by_out[at]);
        if (j < i) moved = sub(moved, mul(page.keys[at], b.m.by_u[at]));
        b.m.dc[i] = add(b.m.dc[i], moved);
        b.m.dc[j] = sub(b.m.dc[j], moved);
      }
    }
  }
  __syncthreads();
}

// dstate becomes that of the state in front of the page.
ZEROTH_DEVICE void state_backward(const BackwardHead& b, const DeltaRange& range, float through) {
  const int64_t width = b.of.t.value_dim;
  for (int64_t at = threadIdx.x; at < b.of.t.state; at += kDeltaThreads) {
    const int64_t d = at / width, e = at % width;
    float s = mul(through, b.s.dstate[at]);
    for (int i = range.known; i < range.rows; ++i) {
      s = fma(mul(b.m.page.begin[i], b.q(i)[d]), b.dout(i)[e], s);
      s = fma(-mul(b.m.page.begin[i], b.k(i)[d]), b.dv(i)[e], s);
    }
    b.s.dstate[at] = s;
  }
  __syncthreads();
}

// Gradients of the gates: a decay is in all c behind it.
ZEROTH_DEVICE void give_gates(const BackwardHead& b, const DeltaRange& range, bool child) {
  if (threadIdx.x == 0) {
    const int64_t heads = b.of.t.heads;
    float sum = 0.0f;
    for (int j = range.rows - 1; j >= range.known; --j) {
      sum = add(sum, b.m.dc[j]);
      float* const to = b.g.dgates + b.m.page.row[j] * 2 * heads + b.of.head;
      to[0] = b.m.dbeta[j];
      to[heads] = sum;
    }
    if (child && range.known > 0) {
      for (int j = 0; j < range.known; ++j) {
        b.m.dc_last[j] = add(b.m.dc_last[j], b.m.dc[j]);
      }
      b.m.dc_last[range.known - 1] = add(b.m.dc_last[range.known - 1], sum);
    }
  }
  __syncthreads();
}

ZEROTH_DEVICE void fill(float* at, int64_t n, float value) {
  for (int64_t i = threadIdx.x; i < n; i += kDeltaThreads) at[i] = value;
}

// dstate: of the state behind the last whole page of the run; `moved`: it is not zeros.
ZEROTH_DEVICE void backward_run(const BackwardHead& b, const DeltaRun& run, const float* first,
                                const float* states, bool moved, bool child) {
  const DeltaSizes& t = b.of.t;
  const int32_t begin = run.position / kPage, last = (end_of(run) - 1) / kPage;
  for (int32_t p = last; p >= begin; --p) {
    const DeltaRange range = range_of(run, p);
    const float* const state = p > begin ? states + (p - begin - 1) * t.state : first;
    const bool whole = range.rows == kPage, through = whole && (p < last || moved);
    const bool shared = !child && p == last && !whole;
    load_page(b.of, run, p, range, false, b.m.page);
    fill(b.s.du_page, kPage * t.value_dim, 0.0f);
    fill(b.s.unused, kPage * t.value_dim, 0.0f);
    if (static_cast<int>(threadIdx.x) < kPage) {
      b.m.dc[threadIdx.x] = shared ? b.m.dc_last[threadIdx.x] : 0.0f;
    }
    __syncthreads();
    pair_products(b.of, range, b.m.page);
    const RowsOfU du{b.s.du_page,
                     b.s.unused,
                     b.s.du_last,
                     b.m.page,
                     t.value_dim,
                     shared,
                     child ? range.known : 0};
    if (through) next_backward(b, state, du);
    values_backward(b, range, du);
    reads_backward(b, range, state, du);
    pairs_backward(b, range);
    if (state) state_backward(b, range, through ? exp(b.m.page.c[kPage - 1]) : 1.0f);
    give_gates(b, range, child);
  }
}

// states[i]: behind page i of the run, of whole pages; that of the last one only if it is wanted. The
// state behind the last whole page.
ZEROTH_DEVICE const float* states_of(const BackwardHead& b, const DeltaRun& run, const float* first,
                                     float* states, bool wanted) {
  const int32_t begin = run.position / kPage, last = (end_of(run) - 1) / kPage;
  const float* state = first;
  for (int32_t p = begin; p <= last; ++p) {
    const DeltaRange range = range_of(run, p);
    if (range.rows < kPage || (p == last && !wanted)) break;
    load_page(b.of, run, p, range, false, b.m.page);
    float* const next = states + (p - begin) * b.of.t.state;
    next_state(b.of, b.m.page, state, next);
    state = next;
  }
  __syncthreads();
  return state;
}

ZEROTH_DEVICE void backward_set(const BackwardHead& b, int32_t begin, int32_t end) {
  const DeltaSizes& t = b.of.t;
  const DeltaRun root = t.call.runs[begin];
  fill(b.s.dbehind, t.state, 0.0f);
  fill(b.s.du_last, kPage * t.value_dim, 0.0f);
  if (static_cast<int>(threadIdx.x) < kPage) b.m.dc_last[threadIdx.x] = 0.0f;
  __syncthreads();
  const float* const first = base_state(b.of, root, b.m.page, b.s.base);
  const float* const behind = states_of(b, root, first, b.s.states, end - begin > 1);
  for (int32_t c = begin + 1; c < end; ++c) {
    const DeltaRun child = t.call.runs[c];
    states_of(b, child, behind, b.s.child_states, false);
    fill(b.s.dstate, t.state, 0.0f);
    __syncthreads();
    backward_run(b, child, behind, b.s.child_states, false, true);
    for (int64_t i = threadIdx.x; i < t.state; i += kDeltaThreads) {
      b.s.dbehind[i] = add(b.s.dbehind[i], b.s.dstate[i]);
    }
    __syncthreads();
  }
  for (int64_t i = threadIdx.x; i < t.state; i += kDeltaThreads) b.s.dstate[i] = b.s.dbehind[i];
  __syncthreads();
  backward_run(b, root, first, b.s.states, end - begin > 1, false);
}

int64_t block_floats(const DeltaRuleCall& call) {
  const int64_t state = int64_t{call.shape.key_dim} * call.shape.value_dim;
  return (2 * call.longest + 4) * state + 3 * int64_t{kPage} * call.shape.value_dim;
}

__global__ void __launch_bounds__(kDeltaThreads)
    delta_rule_backward_kernel(const DeltaSizes t, const DeltaRuleGradients g, float* space,
                               int64_t floats) {
  ZEROTH_SHARED(BackwardShared, shared);
  const int64_t key_heads = t.heads / t.share, set = blockIdx.x / key_heads;
  const int64_t key = blockIdx.x % key_heads, rows = int64_t{kPage} * t.value_dim;
  float* at = space + int64_t{blockIdx.x} * floats;
  BackwardSpace s;
  s.dstate = at;
  s.dbehind = s.dstate + t.state;
  s.base = s.dbehind + t.state;
  s.du_page = s.base + t.state;
  s.unused = s.du_page + rows;
  s.du_last = s.unused + rows;
  s.states = s.du_last + rows;
  s.child_states = s.states + (t.call.longest + 1) * t.state;
  const int32_t begin = t.call.sets[set], end = t.call.sets[set + 1];
  for (int32_t r = begin; r < end; ++r) {
    const DeltaRun run = t.call.runs[r];
    for (int64_t i = threadIdx.x; i < run.rows * t.key_dim; i += kDeltaThreads) {
      const int64_t row = run.first + i / t.key_dim, d = key * t.key_dim + i % t.key_dim;
      g.dq[row * g.lddq + d] = 0.0f;
      g.dk[row * g.lddk + d] = 0.0f;
    }
  }
  __syncthreads();
  for (int64_t h = 0; h < t.share; ++h) {
    const BackwardHead head{{t, key * t.share + h}, g, s, *shared};
    backward_set(head, begin, end);
  }
}

}  // namespace

int64_t delta_rule_backward_space(const DeltaRuleCall& call) {
  return call.set_count * call.shape.key_heads * block_floats(call);
}

void delta_rule_backward(Stream stream, const DeltaRuleCall& call, const DeltaRuleGradients& g,
                         float* space) {
  launch(stream, delta_rule_backward_kernel, {call.set_count * call.shape.key_heads}, kDeltaThreads,
         sizeof(BackwardShared), sizes_of(call), g, space, block_floats(call));
}

}  // namespace zeroth::kernels::cuda

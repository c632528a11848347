// The recurrence of the gated delta net: a block has a value head of a set of runs.
#include "kernels/cuda/delta_page.cuh"

namespace zeroth::kernels::cuda {
namespace {

struct Outputs {
  float* out;
  int64_t ldout;
  float* space;
};

// u and outputs of the computed rows, in the thread's columns.
ZEROTH_DEVICE void compute_rows(const DeltaHead& of, const DeltaRange& range,
                                const DeltaPageShared& page, const float* state,
                                const Outputs& to) {
  const DeltaSizes& t = of.t;
  const int64_t width = t.value_dim, key = of.key(), u = of.u();
  for (int64_t e = threadIdx.x; e < width; e += kDeltaThreads) {
    for (int i = range.known; i < range.rows; ++i) {
      const int64_t row = page.row[i];
      const float* const k = page.memory[i] + key;
      const float* const q = t.call.q + row * t.call.ldq + key;
      const float begin = page.begin[i];
      const float read = state_sum(k, state, e, t.key_dim, width);
      float own = fma(-begin, read, t.call.v[row * t.call.ldv + of.head * width + e]);
      float out = mul(begin, state_sum(q, state, e, t.key_dim, width));
      for (int j = 0; j < i; ++j) {
        const float before = page.memory[j][u + e];
        own = fma(-page.keys[i * kPage + j], before, own);
        out = fma(page.queries[i * kPage + j], before, out);
      }
      own = mul(t.call.gates[row * 2 * t.heads + of.head], own);
      t.call.memory[row * t.memory + u + e] = own;
      to.out[row * to.ldout + of.head * width + e] = fma(page.queries[i * kPage + i], own, out);
    }
  }
}

// From the state in front of the run's first page; the state behind its last whole one, where that
// is wanted.
ZEROTH_DEVICE const float* forward_run(const DeltaHead& of, const DeltaRun& run, const float* state,
                                       float* memory, bool wanted, DeltaPageShared& page,
                                       const Outputs& to) {
  const int32_t last = (end_of(run) - 1) / kPage;
  for (int32_t p = run.position / kPage; p <= last; ++p) {
    const DeltaRange range = range_of(run, p);
    load_page(of, run, p, range, true, page);
    pair_products(of, range, page);
    compute_rows(of, range, page, state, to);
    if (range.rows < kPage || !(p < last || wanted || run.keep >= 0)) continue;
    next_state(of, page, state, memory);
    state = memory;
    if (run.keep < 0 || end_of(run) >= (p + 2) * kPage) continue;
    float* const kept = of.state(run.keep);
    const int64_t width = of.t.value_dim;
    for (int64_t e = threadIdx.x; e < width; e += kDeltaThreads) {
      for (int64_t d = 0; d < of.t.key_dim; ++d) kept[d * width + e] = state[d * width + e];
    }
  }
  return state;
}

__global__ void __launch_bounds__(kDeltaThreads)
    delta_rule_kernel(const DeltaSizes t, const Outputs to) {
  ZEROTH_SHARED(DeltaPageShared, page);
  const int64_t set = blockIdx.x / t.heads;
  const DeltaHead of{t, blockIdx.x % t.heads};
  float* const memory = to.space + int64_t{blockIdx.x} * 2 * t.state;
  const int32_t begin = t.call.sets[set], end = t.call.sets[set + 1];
  const DeltaRun root = t.call.runs[begin];
  const float* state = base_state(of, root, *page, memory);
  state = forward_run(of, root, state, memory, end - begin > 1, *page, to);
  for (int32_t child = begin + 1; child < end; ++child) {
    forward_run(of, t.call.runs[child], state, memory + t.state, false, *page, to);
  }
}

}  // namespace

int64_t delta_rule_space(const DeltaRuleCall& call) {
  return call.set_count * 2 * call.shape.state();
}

void delta_rule(Stream stream, const DeltaRuleCall& call, float* out, int64_t ldout, float* space) {
  launch(stream, delta_rule_kernel, {call.set_count * call.shape.value_heads}, kDeltaThreads,
         sizeof(DeltaPageShared), sizes_of(call), Outputs{out, ldout, space});
}

}  // namespace zeroth::kernels::cuda

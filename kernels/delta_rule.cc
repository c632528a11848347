// The recurrence of the gated delta net, cut over the pool by sets of runs and heads.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/delta.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

static_assert(kPageTokens == kDeltaPage);

void copy_to(float* to, const float* from, int64_t n) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

int32_t end_of(const DeltaRun& run) { return run.position + run.rows; }

// One value head of the runs of a call.
struct Head {
  const DeltaShape& shape;
  const DeltaRuns& runs;
  const float* memory;
  int64_t head;

  int64_t key() const { return head / shape.share(); }
  int64_t state_floats() const { return int64_t{shape.key_dim} * shape.value_dim; }
  float* state(int32_t number) const {
    return runs.states + (int64_t{number} * shape.value_heads + head) * state_floats();
  }
  // The row of the call at a position that a run sees; -1: it is in the cache.
  int64_t row_at(const DeltaRun& run, int32_t position) const {
    const DeltaRun* of = &run;
    if (position < of->position && of->parent >= 0) of = &runs.runs[of->parent];
    return position < of->position ? -1 : of->first + position - of->position;
  }
  // [keys | u | c] of the token there.
  const float* memory_at(const DeltaRun& run, int32_t position) const {
    const int64_t row = row_at(run, position);
    if (row >= 0) return memory + row * shape.memory();
    const int64_t page = runs.page_table[run.pages + position / kPageTokens];
    return runs.slots + (page * kPageTokens + position % kPageTokens) * shape.slot() +
           shape.channels();
  }
  // Of tokens of page `number` that the run sees: keys, u and c; computed rows from the run's own
  // first position on.
  DeltaPage page(const DeltaRun& run, int32_t number) const {
    DeltaPage out;
    const int32_t begin = number * kPageTokens;
    out.rows = std::min(kPageTokens, end_of(run) - begin);
    out.known = std::clamp(run.position - begin, 0, out.rows);
    out.key_dim = shape.key_dim;
    out.value_dim = shape.value_dim;
    for (int j = 0; j < out.rows; ++j) {
      const float* at = memory_at(run, begin + j);
      out.k[j] = at + key() * shape.key_dim;
      out.u[j] = const_cast<float*>(at) + shape.keys() + head * shape.value_dim;
      out.c[j] = at[shape.keys() + shape.values() + head];
    }
    return out;
  }
  // The state in front of the page that a run begins in, into `to` unless it is there already; null:
  // zeros. For runs without a parent.
  const float* base(const DeltaRun& run, float* to) const {
    const Table& isa = table();
    const float* at = run.base >= 0 ? state(run.base) : nullptr;
    for (int32_t p = run.base_pages; p < run.position / kPageTokens; ++p) {
      DeltaPage whole = page(run, p);
      whole.state = at;
      whole.next = to;
      isa.delta_page(whole);
      at = to;
    }
    return at;
  }
};

// --- forward

class Forward {
 public:
  Forward(const Head& head, const float* q, int64_t ldq, const float* v, int64_t ldv,
          const float* gates, float* out, int64_t ldout)
      : of_(head), q_(q), ldq_(ldq), v_(v), ldv_(ldv), gates_(gates), out_(out), ldout_(ldout) {}

  void set(int32_t begin, int32_t end) const {
    const int64_t n = of_.state_floats();
    float* const memory = thread_scratch(Slot::kOperator, 2 * n);
    const DeltaRun& root = of_.runs.runs[begin];
    const float* behind = run(root, of_.base(root, memory), memory, end - begin > 1);
    for (int32_t child = begin + 1; child < end; ++child)
      run(of_.runs.runs[child], behind, memory + n, false);
  }

 private:
  // From the state in front of its first page, with memory for later ones. The state behind its last
  // whole page, where that is `wanted`.
  const float* run(const DeltaRun& r, const float* state, float* memory, bool wanted) const {
    const int32_t last = (end_of(r) - 1) / kPageTokens;
    for (int32_t p = r.position / kPageTokens; p <= last; ++p) {
      DeltaPage page = of_.page(r, p);
      fill(r, p, page);
      const bool whole = page.rows == kPageTokens;
      page.state = state;
      if (whole && (p < last || wanted || r.keep >= 0)) page.next = memory;
      table().delta_page(page);
      if (page.next) state = memory;
      const bool last_whole = whole && (p == last || end_of(r) < (p + 2) * kPageTokens);
      if (last_whole && r.keep >= 0) copy_to(of_.state(r.keep), state, of_.state_floats());
    }
    return state;
  }

  // Computed rows: what they read, where they go, and their c.
  void fill(const DeltaRun& r, int32_t number, DeltaPage& page) const {
    const DeltaShape& s = of_.shape;
    const int64_t key = of_.key(), head = of_.head;
    for (int j = page.known; j < page.rows; ++j) {
      const int64_t row = r.first + number * kPageTokens + j - r.position;
      const float* gate = gates_ + row * 2 * s.value_heads;
      page.q[j] = q_ + row * ldq_ + key * s.key_dim;
      page.v[j] = v_ + row * ldv_ + head * s.value_dim;
      page.out[j] = out_ + row * ldout_ + head * s.value_dim;
      page.beta[j] = gate[head];
      page.c[j] = (j > 0 ? page.c[j - 1] : 0.0f) + gate[s.value_heads + head];
      const_cast<float*>(of_.memory)[row * s.memory() + s.keys() + s.values() + head] = page.c[j];
    }
  }

  const Head of_;
  const float* q_;
  int64_t ldq_;
  const float* v_;
  int64_t ldv_;
  const float* gates_;
  float* out_;
  int64_t ldout_;
};

// Tasks of about equal work, a few microseconds at least.
int64_t grain_of(const DeltaShape& shape, const DeltaRuns& runs) {
  int64_t rows = 0;
  for (const DeltaRun& run : runs.runs) rows += run.rows;
  const int64_t sets = static_cast<int64_t>(runs.sets.size()) - 1;
  const int64_t work =
      3 * int64_t{shape.key_dim} * shape.value_dim * rows / std::max<int64_t>(1, sets);
  return std::max<int64_t>(1, 65'536 / std::max<int64_t>(1, work));
}

}  // namespace

void delta_rule(const DeltaShape& shape, const float* q, int64_t ldq, const float* v, int64_t ldv,
                const float* gates, const DeltaRuns& runs, float* memory, float* out,
                int64_t ldout) {
  const int64_t sets = static_cast<int64_t>(runs.sets.size()) - 1, heads = shape.value_heads;
  parallel_for(sets * heads, grain_of(shape, runs), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Head head{shape, runs, memory, i % heads};
      Forward(head, q, ldq, v, ldv, gates, out, ldout)
          .set(runs.sets[i / heads], runs.sets[i / heads + 1]);
    }
  });
}

// --- backward

namespace {

struct Gradients {
  const float* q;
  int64_t ldq;
  const float* v;
  int64_t ldv;
  const float* gates;
  const float* dout;
  int64_t lddout;
  float* dq;
  int64_t lddq;
  float* dk;
  int64_t lddk;
  float* dv;
  int64_t lddv;
  float* dgates;
};

// One value head of a set: children first, then the root, each from its last page to its first.
class Backward {
 public:
  Backward(const Head& head, const Gradients& g) : of_(head), g_(g) {}

  void set(int32_t begin, int32_t end) {
    const DeltaRun& root = of_.runs.runs[begin];
    int64_t pages = pages_of(root), most = 0;
    for (int32_t c = begin + 1; c < end; ++c) most = std::max(most, pages_of(of_.runs.runs[c]));
    const int64_t n = of_.state_floats(), rows = kPageTokens * int64_t{of_.shape.value_dim};
    float* at = thread_scratch(Slot::kOperator, (pages + most + 4) * n + 3 * rows);
    const auto take = [&at](int64_t floats) { return std::exchange(at, at + floats); };
    dstate_ = take(n);
    dbehind_ = take(n);
    du_ = take(rows);
    unused_ = take(rows);
    du_last_ = take(rows);
    std::fill_n(dbehind_, n, 0.0f);
    std::fill_n(du_last_, rows, 0.0f);
    std::fill_n(dc_last_, kDeltaPage, 0.0f);

    float* const base = take(n);
    float* const root_states = take((pages + 1) * n);
    const float* first = of_.base(root, base);
    const float* behind = states_of(root, first, root_states, end - begin > 1);
    float* const child_states = at;
    for (int32_t c = begin + 1; c < end; ++c) {
      const DeltaRun& child = of_.runs.runs[c];
      states_of(child, behind, child_states, false);
      std::fill_n(dstate_, n, 0.0f);
      walk(child, behind, child_states, false, true);
      for (int64_t i = 0; i < n; ++i) dbehind_[i] += dstate_[i];
    }
    std::memcpy(dstate_, dbehind_, static_cast<size_t>(n) * sizeof(float));
    walk(root, first, root_states, end - begin > 1, false);
  }

 private:
  static int64_t pages_of(const DeltaRun& run) {
    return (end_of(run) - 1) / kPageTokens - run.position / kPageTokens + 1;
  }
  // states[i]: behind the i-th page of the run, of whole pages; that of the last one only if it is
  // wanted. The state behind the last whole page.
  const float* states_of(const DeltaRun& run, const float* first, float* states,
                         bool wanted) const {
    const int32_t begin = run.position / kPageTokens, last = (end_of(run) - 1) / kPageTokens;
    const float* state = first;
    for (int32_t p = begin; p <= last; ++p) {
      DeltaPage page = of_.page(run, p);
      if (page.rows < kPageTokens || (p == last && !wanted)) break;
      page.known = page.rows;  // u is there
      page.state = state;
      page.next = states + (p - begin) * of_.state_floats();
      table().delta_page(page);
      state = page.next;
    }
    return state;
  }

  // dstate_: of the state behind the last whole page of the run. `moved`: it is not zeros.
  void walk(const DeltaRun& run, const float* first, const float* states, bool moved, bool child) {
    const int32_t begin = run.position / kPageTokens, last = (end_of(run) - 1) / kPageTokens;
    for (int32_t p = last; p >= begin; --p) {
      DeltaPageBackward t;
      t.page = of_.page(run, p);
      t.page.state = p > begin ? states + (p - begin - 1) * of_.state_floats() : first;
      t.dstate = dstate_;
      t.through = t.page.rows == kPageTokens && (p < last || moved);
      const bool shared = !child && p == last && t.page.rows < kPageTokens;
      fill(run, p, child, shared, t);
      table().delta_page_backward(t);
      give(run, p, child, t);
    }
  }

  void fill(const DeltaRun& run, int32_t number, bool child, bool shared, DeltaPageBackward& t) {
    const DeltaShape& s = of_.shape;
    const int64_t key = of_.key(), head = of_.head, width = s.value_dim;
    DeltaPage& page = t.page;
    std::fill_n(du_, kPageTokens * width, 0.0f);
    for (int j = 0; j < page.rows; ++j) {
      const int64_t row = of_.row_at(run, number * kPageTokens + j);
      t.dk[j] = row < 0 ? nullptr : g_.dk + row * g_.lddk + key * s.key_dim;
      t.dc[j] = shared ? dc_last_[j] : 0;
      t.du[j] = (shared || (child && j < page.known) ? du_last_ : du_) + j * width;
      if (row < 0) t.du[j] = unused_ + j * width;
      if (row < 0) std::fill_n(t.du[j], width, 0.0f);
      if (j < page.known) continue;
      page.q[j] = g_.q + row * g_.ldq + key * s.key_dim;
      page.v[j] = g_.v + row * g_.ldv + head * width;
      page.beta[j] = g_.gates[row * 2 * s.value_heads + head];
      t.dout[j] = g_.dout + row * g_.lddout + head * width;
      t.dq[j] = g_.dq + row * g_.lddq + key * s.key_dim;
      t.dv[j] = g_.dv + row * g_.lddv + head * width;
    }
  }

  // Gradients of the gates: a decay is in all c behind it.
  void give(const DeltaRun& run, int32_t number, bool child, const DeltaPageBackward& t) {
    const int64_t heads = of_.shape.value_heads;
    float sum = 0;
    for (int j = t.page.rows - 1; j >= t.page.known; --j) {
      const int64_t row = of_.row_at(run, number * kPageTokens + j);
      sum += t.dc[j];
      g_.dgates[row * 2 * heads + of_.head] = t.dbeta[j];
      g_.dgates[row * 2 * heads + heads + of_.head] = sum;
    }
    if (!child || t.page.known == 0) return;
    for (int j = 0; j < t.page.known; ++j) dc_last_[j] += t.dc[j];
    dc_last_[t.page.known - 1] += sum;
  }

  const Head of_;
  const Gradients g_;
  float *dstate_, *dbehind_;        // of the state at hand; of that behind the root
  float *du_, *unused_, *du_last_;  // of a page; of cached rows; of the root's last page
  float dc_last_[kDeltaPage];       // of that page
};

}  // namespace

void delta_rule_backward(const DeltaShape& shape, const float* q, int64_t ldq, const float* v,
                         int64_t ldv, const float* gates, const DeltaRuns& runs,
                         const float* memory, const float* dout, int64_t lddout, float* dq,
                         int64_t lddq, float* dk, int64_t lddk, float* dv, int64_t lddv,
                         float* dgates) {
  const Gradients g{q, ldq, v, ldv, gates, dout, lddout, dq, lddq, dk, lddk, dv, lddv, dgates};
  const int64_t sets = static_cast<int64_t>(runs.sets.size()) - 1, keys = shape.key_heads;
  parallel_for(sets * keys, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t first = runs.sets[i / keys], last = runs.sets[i / keys + 1];
      const int64_t key = i % keys;
      for (int32_t r = first; r < last; ++r) {
        const DeltaRun& run = runs.runs[r];
        for (int64_t row = run.first; row < run.first + run.rows; ++row) {
          std::fill_n(dq + row * lddq + key * shape.key_dim, shape.key_dim, 0.0f);
          std::fill_n(dk + row * lddk + key * shape.key_dim, shape.key_dim, 0.0f);
        }
      }
      // Value heads of one key head add to the same rows: one after the other.
      for (int h = 0; h < shape.share(); ++h) {
        const Head head{shape, runs, memory, key * shape.share() + h};
        Backward(head, g).set(first, last);
      }
    }
  });
}

}  // namespace zeroth::kernels

// Random calls of the gated delta net: sequences that begin, go on from the cache, and share a
// prompt.
#pragma once

#include <numeric>

#include "kernel_test.h"
#include "kernels/delta.h"

namespace zeroth::kernels {

// What a call takes and leaves, on the host.
struct DeltaCase {
  DeltaShape shape;
  int64_t m = 0, taps = 4;
  std::vector<DeltaRun> runs;
  std::vector<int32_t> sets, page_table;
  std::vector<int64_t> past, parts;
  Values q, v, gates, memory, slots, states, dout;
  int64_t longest = 0;
  int64_t ldq() const { return shape.keys() + 3; }
  int64_t ldv() const { return shape.values() + 5; }

  DeltaRuns view() { return {runs, sets, page_table, slots.data(), states.data(), longest}; }
};

// A run of `rows` behind `position` tokens, which are in the cache, with children of so many rows.
struct DeltaSetShape {
  int32_t position, rows;
  std::vector<int32_t> children;
  bool kept = false;  // the state behind its last whole page in the cache is there
};

inline Values unit_rows(int64_t rows, int64_t heads, int64_t dim, int64_t ld, uint32_t stream) {
  Values x = random_values(rows * ld, stream);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      float* at = x.data() + i * ld + h * dim;
      double squares = 0;
      for (int64_t d = 0; d < dim; ++d) squares += double{at[d]} * at[d];
      for (int64_t d = 0; d < dim; ++d) at[d] /= static_cast<float>(std::sqrt(squares));
    }
  return x;
}

// The cache of sequences that go on is what a call of their beginning leaves there.
inline DeltaCase delta_case(const DeltaShape& shape, const std::vector<DeltaSetShape>& sets,
                            uint32_t stream, int64_t taps = 4) {
  DeltaCase c;
  c.shape = shape;
  c.taps = taps;
  int32_t pages = 0, states = 0;
  std::vector<DeltaRun> befores;  // runs that fill the cache
  for (const DeltaSetShape& set : sets) {
    c.sets.push_back(static_cast<int32_t>(c.runs.size()));
    c.parts.push_back(c.m);
    const auto root = static_cast<int32_t>(c.runs.size());
    const auto add = [&](int32_t position, int32_t rows, int32_t parent) {
      DeltaRun run{.first = static_cast<int32_t>(c.m), .rows = rows, .position = position};
      run.parent = parent;
      run.pages = static_cast<int32_t>(c.page_table.size());
      run.keep = states++;
      c.m += rows;
      const int32_t own = (position + rows - 1) / kPageTokens + 1;
      // Pages with tokens in front are shared, in no order.
      for (int32_t p = 0; p < own; ++p) {
        const bool shared = parent >= 0 && p * kPageTokens < position;
        c.page_table.push_back(shared ? c.page_table[c.runs[parent].pages + p] : pages++);
      }
      c.runs.push_back(run);
      c.longest =
          std::max<int64_t>(c.longest, (position % kPageTokens + rows - 1) / kPageTokens + 1);
    };
    add(set.position, set.rows, -1);
    for (const int32_t rows : set.children) add(set.position + set.rows, rows, root);
    DeltaRun& run = c.runs[root];
    if (set.position == 0) continue;
    DeltaRun before = run;
    before.rows = set.position;
    before.position = 0;
    before.keep = -1;
    if (set.kept && set.position >= kPageTokens) {
      run.base_pages = set.position / kPageTokens;
      run.base = before.keep = states++;
    }
    befores.push_back(before);
  }
  c.sets.push_back(static_cast<int32_t>(c.runs.size()));
  for (size_t i = 0; i < c.page_table.size(); ++i) c.page_table[i] = pages - 1 - c.page_table[i];

  const auto gates_of = [&](int64_t rows, uint32_t s) {
    Values gates = random_values(rows * 2 * shape.value_heads, s);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t h = 0; h < shape.value_heads; ++h) {
        float* at = gates.data() + i * 2 * shape.value_heads + h;
        at[0] = 1 / (1 + std::exp(-at[0]));
        at[shape.value_heads] = -0.3f * std::fabs(at[shape.value_heads]);
      }
    return gates;
  };
  const auto memory_of = [&](int64_t rows, uint32_t s) {
    return unit_rows(rows, shape.key_heads, shape.key_dim, shape.memory(), s);
  };
  c.slots = Values(pages * kPageTokens * shape.slot(), NAN);
  c.states = Values((states + 1) * shape.state(), NAN);
  for (size_t b = 0; b < befores.size(); ++b) {
    DeltaRun run = befores[b];
    run.first = 0;
    const uint32_t s = stream + 100 + static_cast<uint32_t>(b) * 10;
    const Values q = unit_rows(run.rows, shape.key_heads, shape.key_dim, c.ldq(), s);
    const Values v = random_values(run.rows * c.ldv(), s + 1), gates = gates_of(run.rows, s + 2);
    Values memory = memory_of(run.rows, s + 3), out(run.rows * shape.values());
    const std::vector<DeltaRun> alone = {run};
    const std::vector<int32_t> set = {0, 1};
    delta_rule(shape, q.data(), c.ldq(), v.data(), c.ldv(), gates.data(),
               {alone, set, c.page_table, c.slots.data(), c.states.data(), 1 + run.rows / 16},
               memory.data(), out.data(), shape.values());
    const Values given = random_values(run.rows * shape.channels(), s + 4);
    std::vector<KvWrite> writes;
    for (int32_t p = 0; p < run.rows; ++p)
      writes.push_back({p, int64_t{c.page_table[run.pages + p / 16]} * 16 + p % 16});
    write_slots(c.slots.data(), shape.slot(), 0, writes, given.data(), shape.channels(),
                shape.channels());
    write_slots(c.slots.data(), shape.slot(), shape.channels(), writes, memory.data(),
                shape.memory(), shape.memory());
  }
  c.q = unit_rows(c.m, shape.key_heads, shape.key_dim, c.ldq(), stream);
  c.v = random_values(c.m * c.ldv(), stream + 1);
  c.gates = gates_of(c.m, stream + 2);
  c.memory = memory_of(c.m, stream + 3);
  c.dout = random_values(c.m * c.ldv(), stream + 4);

  c.past.resize(c.m * (taps - 1));
  for (const DeltaRun& run : c.runs)
    for (int32_t i = 0; i < run.rows; ++i)
      for (int64_t j = 0; j + 1 < taps; ++j) {
        const int64_t at = run.position + i - (taps - 1 - j);
        const DeltaRun& of = at < run.position && run.parent >= 0 ? c.runs[run.parent] : run;
        const int64_t slot = at < 0 ? 0 : int64_t{c.page_table[run.pages + at / 16]} * 16 + at % 16;
        c.past[(run.first + i) * (taps - 1) + j] = at < 0              ? -1
                                                   : at >= of.position ? of.first + at - of.position
                                                                       : -2 - slot;
      }
  return c;
}

// Sizes below, at and beyond a vector; one row, rows over several pages, prompts that end anywhere.
inline std::vector<DeltaCase> delta_cases() {
  return {
      delta_case({1, 1, 4, 4}, {{0, 1, {}}}, 1),
      delta_case({1, 2, 8, 8}, {{0, 33, {}}, {0, 16, {}}}, 20, 2),
      delta_case({2, 4, 8, 8}, {{0, 7, {3, 20}}, {0, 16, {1, 40}}, {0, 21, {1, 11, 12}}}, 40),
      delta_case({2, 2, 20, 17}, {{5, 30, {}}, {18, 1, {}}, {31, 1, {}}, {48, 1, {}}}, 60),
      delta_case({1, 3, 16, 36}, {{37, 9, {4, 18}, true}, {16, 1, {}, true}, {45, 3, {}, true}}, 80,
                 6),
      delta_case({2, 2, 40, 64}, {{0, 70, {}}, {3, 2, {1, 30}}}, 100, 1),
  };
}

}  // namespace zeroth::kernels

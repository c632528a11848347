#include "policy/delta_plan.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/error.h"

namespace zeroth {

using kernels::DeltaRun;
using kernels::kPageTokens;

StateTable::StateTable(int64_t pages, int64_t states)
    : state_of_(pages, -1), page_of_(states, -1), used_(states, -1) {}

void StateTable::forget(int32_t page) {
  int32_t& state = state_of_[page];
  if (state < 0) return;
  page_of_[state] = -1;
  used_[state] = -1;
  state = -1;
}

void StateTable::clear() {
  std::fill(state_of_.begin(), state_of_.end(), -1);
  std::fill(page_of_.begin(), page_of_.end(), -1);
  std::fill(used_.begin(), used_.end(), -1);
}

int32_t StateTable::find(int32_t page) {
  const int32_t state = state_of_[page];
  if (state >= 0) used_[state] = now_;
  return state;
}

int32_t StateTable::take(int32_t page) {
  forget(page);
  const auto oldest = std::min_element(used_.begin(), used_.end());
  if (oldest == used_.end() || *oldest == now_) return -1;
  const auto state = static_cast<int32_t>(oldest - used_.begin());
  if (page_of_[state] >= 0) state_of_[page_of_[state]] = -1;
  page_of_[state] = page;
  state_of_[page] = state;
  *oldest = now_;
  return state;
}

namespace {

[[noreturn]] void fail_rows(const std::string& what) {
  fail("forward: " + what, "gated delta nets need a sequence's rows beside each other, in order");
}

// Runs as they stand in the batch.
std::vector<DeltaRun> runs_of(const ForwardBatch& batch) {
  std::vector<DeltaRun> runs;
  std::vector<char> seen(batch.page_begin.size(), 0);
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const int32_t s = batch.sequence[i], position = batch.positions[i];
    if (i > 0 && batch.sequence[i - 1] == s) {
      if (position != batch.positions[i - 1] + 1)
        fail_rows("position " + std::to_string(position) + " of sequence " + std::to_string(s) +
                  " behind " + std::to_string(batch.positions[i - 1]));
      ++runs.back().rows;
      continue;
    }
    if (seen[s]) fail_rows("rows of sequence " + std::to_string(s) + " stand apart");
    seen[s] = 1;
    runs.push_back({.first = static_cast<int32_t>(i),
                    .rows = 1,
                    .position = position,
                    .pages = batch.page_begin[s]});
  }
  return runs;
}

int64_t slot_of(const ForwardBatch& batch, const DeltaRun& run, int32_t position) {
  const int64_t page = batch.page_table[run.pages + position / kPageTokens];
  return page * kPageTokens + position % kPageTokens;
}

// The run that ends in front of each, by what the batch writes.
void find_parents(const ForwardBatch& batch, std::vector<DeltaRun>& runs) {
  const bool any =
      std::any_of(runs.begin(), runs.end(), [](const DeltaRun& run) { return run.position > 0; });
  if (!any) return;
  std::unordered_map<int64_t, int32_t> writer;
  for (const kernels::KvWrite& write : batch.writes) writer[write.slot] = write.row;
  std::unordered_map<int32_t, int32_t> ending;  // last row: run
  for (size_t r = 0; r < runs.size(); ++r)
    ending[runs[r].first + runs[r].rows - 1] = static_cast<int32_t>(r);
  for (DeltaRun& run : runs) {
    if (run.position == 0) continue;
    const auto before = writer.find(slot_of(batch, run, run.position - 1));
    if (before == writer.end()) continue;
    const int32_t row = before->second;
    const auto parent = ending.find(row);
    if (parent == ending.end() || batch.positions[row] != run.position - 1)
      fail_rows("a sequence goes on from row " + std::to_string(row) + ", where no other ends");
    run.parent = parent->second;
  }
  for (const DeltaRun& run : runs)
    if (run.parent >= 0 && runs[run.parent].parent >= 0)
      fail_rows("a sequence goes on from one that goes on from another");
}

}  // namespace

DeltaPlan::DeltaPlan(const ForwardBatch& batch, int64_t taps) {
  std::vector<DeltaRun> found = runs_of(batch);
  find_parents(batch, found);
  std::vector<std::vector<int32_t>> children(found.size());
  for (size_t r = 0; r < found.size(); ++r)
    if (found[r].parent >= 0) children[found[r].parent].push_back(static_cast<int32_t>(r));
  for (size_t r = 0; r < found.size(); ++r) {
    if (found[r].parent >= 0) continue;
    const auto root = static_cast<int32_t>(runs.size());
    sets.push_back(root);
    runs.push_back(found[r]);
    for (const int32_t child : children[r]) {
      runs.push_back(found[child]);
      runs.back().parent = root;
    }
  }
  sets.push_back(static_cast<int32_t>(runs.size()));

  for (const DeltaRun& run : runs)
    longest =
        std::max<int64_t>(longest, (run.position % kPageTokens + run.rows - 1) / kPageTokens + 1);
  past.resize(batch.tokens.size() * (taps - 1));
  for (const DeltaRun& run : runs)
    for (int32_t i = 0; i < run.rows; ++i)
      for (int64_t j = 0; j + 1 < taps; ++j) {
        const int64_t at = run.position + i - (taps - 1 - j);
        int64_t& from = past[(run.first + i) * (taps - 1) + j];
        const DeltaRun* of = &run;
        if (at < run.position && run.parent >= 0) of = &runs[run.parent];
        from = at < 0               ? -1
               : at >= of->position ? of->first + at - of->position
                                    : -2 - slot_of(batch, run, static_cast<int32_t>(at));
      }
}

namespace {

// The nearest whole page in front of a run whose state is there.
template <class Find>
void find_base(const ForwardBatch& batch, DeltaRun& run, const Find& find) {
  for (int32_t pages = run.position / kPageTokens; pages > 0; --pages) {
    const int32_t state = find(batch.page_table[run.pages + pages - 1]);
    if (state < 0) continue;
    run.base = state;
    run.base_pages = pages;
    return;
  }
}

}  // namespace

void DeltaPlan::look_up(const ForwardBatch& batch, const StateTable& states) {
  for (DeltaRun& run : runs)
    if (run.parent < 0) find_base(batch, run, [&](int32_t page) { return states.peek(page); });
}

void DeltaPlan::claim(const ForwardBatch& batch, bool keep, StateTable& states) {
  states.begin_call();
  for (const kernels::KvWrite& write : batch.writes)
    states.forget(static_cast<int32_t>(write.slot / kPageTokens));
  for (DeltaRun& run : runs)
    if (run.parent < 0) find_base(batch, run, [&](int32_t page) { return states.find(page); });
  if (!keep) return;
  for (DeltaRun& run : runs) {
    const int32_t whole = (run.position + run.rows) / kPageTokens;
    if (whole > run.position / kPageTokens)
      run.keep = states.take(batch.page_table[run.pages + whole - 1]);
  }
}

const DeltaCall& StagedDelta::put(const kernels::Device& device, DeltaPlan plan) {
  plan_ = std::move(plan);
  call_ = {runs_.put(device, std::span(std::as_const(plan_.runs))),
           sets_.put(device, std::span(std::as_const(plan_.sets))),
           past_.put(device, std::span(std::as_const(plan_.past))), plan_.longest};
  return call_;
}

}  // namespace zeroth

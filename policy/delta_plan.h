// The rows of a call as gated delta nets take them, and which states the cache holds.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/delta.h"
#include "kernels/device_array.h"
#include "policy/forward.h"

namespace zeroth {

// States behind whole pages, by page. They follow from what the pages hold, so one that is not kept is
// computed again from an earlier one, with the same bits: which are kept changes speed alone. A page
// that is written loses its state. Not thread safe.
class StateTable {
 public:
  StateTable(int64_t pages, int64_t states);
  int64_t states() const { return static_cast<int64_t>(page_of_.size()); }
  // From here on states that find() and take() give are not given to other pages, until the next
  // call.
  void begin_call() { ++now_; }
  void forget(int32_t page);
  void clear();
  // The number of the page's state; -1: it is not kept.
  int32_t peek(int32_t page) const { return state_of_[page]; }
  int32_t find(int32_t page);
  // A state for the page, that of the page not used for longest; -1: all are in use.
  int32_t take(int32_t page);

 private:
  std::vector<int32_t> state_of_;  // by page
  std::vector<int32_t> page_of_;   // by state; -1: free
  std::vector<int64_t> used_;      // by state: the call
  int64_t now_ = 0;
};

// Runs, sets and the rows that convolutions read (kernels/delta.h); bases and kept states not yet.
// Throws Error when rows of a sequence are not neighbours at ascending positions, or a sequence goes
// on from rows of the batch that others go on from.
struct DeltaPlan {
  std::vector<kernels::DeltaRun> runs;
  std::vector<int32_t> sets;
  std::vector<int64_t> past;  // [rows, taps - 1]
  int64_t longest = 0;        // DeltaRuns::longest

  DeltaPlan() = default;
  DeltaPlan(const ForwardBatch& batch, int64_t taps);
  // Bases of runs from what the cache keeps.
  void look_up(const ForwardBatch& batch, const StateTable& states);
  // The same for a call that writes: pages lose their states, and with `keep` runs leave theirs.
  void claim(const ForwardBatch& batch, bool keep, StateTable& states);
};

// Where operators find a plan.
struct DeltaCall {
  kernels::View<const kernels::DeltaRun> runs;
  kernels::View<const int32_t> sets;
  kernels::View<const int64_t> past;
  int64_t longest = 0;
};
class StagedDelta {
 public:
  // Valid until the next call.
  const DeltaCall& put(const kernels::Device& device, DeltaPlan plan);

 private:
  DeltaPlan plan_;
  kernels::Staged<kernels::DeltaRun> runs_;
  kernels::Staged<int32_t> sets_;
  kernels::Staged<int64_t> past_;
  DeltaCall call_;
};

}  // namespace zeroth

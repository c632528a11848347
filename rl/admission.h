// The arithmetic of async.max_staleness = K: how many groups may be out, and which of those that are
// there a step takes. Pure.
//
// A group that begins with the weights of step s must be trained on by step s + K, when it is due.
// Groups that are in training, there, or being sampled are at most (K + 1) x batch, and as none
// begins with weights older than the step that is running, there is always an order in which all
// meet their steps: so many are due up to step d as steps up to d can take. choose_groups() keeps
// it that way, so that nothing is ever thrown away for its age.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace zeroth {

// The groups that `step` takes, as positions in `ready`, ascending; empty: it has to wait. `ready`
// has the steps at which the groups that are there are due, in the order of their arrival, `out`
// those of groups that are being sampled. The first that came are taken, but for those that must
// leave their place to one that could not meet its step otherwise.
std::vector<size_t> choose_groups(std::span<const int64_t> ready, std::span<const int64_t> out,
                                  int64_t step, int batch, int max_staleness);

// Numbers of draws of problems: those that are used, and the gaps between them.
struct DrawNumbers {
  int64_t next = 0;        // behind all that are used
  std::set<int64_t> open;  // below it and not used
  void use(int64_t draw);
  // Those of a group: its own, and those of problems that were left out before it.
  template <class Group>
  void use_group(const Group& group) {
    use(group.draw);
    for (const int64_t skipped : group.skipped) use(skipped);
  }
  // The lowest that is free, used now.
  int64_t take();
};

// How many batches sampling may be ahead: enough that steps do not wait for samples, and no more,
// because whatever lies ready grows stale.
class Pace {
 public:
  Pace(int batch, int max_staleness);
  // Groups that may be out at once while `step` of `steps` runs, those in training included.
  int64_t most(int64_t step, int64_t steps) const;
  // A step took its groups: whether it had to wait for them, and how many more lay ready then.
  void took(bool waited, int64_t left);

 private:
  int64_t batch_, limit_, depth_;
};

}  // namespace zeroth

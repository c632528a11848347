// What this process has cost so far.
#pragma once

#include <cstdint>
#include <optional>

namespace zeroth {

struct ProcessCost {
  double core_seconds = 0;  // of all its threads, and of children that have ended
  double peak_mb = 0;       // most resident memory at a time (VmHWM)
  // Of the whole machine, since some moment; none where it does not say (Linux powercap: Intel and
  // AMD packages; usually root alone may read it).
  std::optional<double> joules;
};

// Cheap. Thread safe. A counter of energy that wraps around between two calls is noticed.
ProcessCost process_cost();

}  // namespace zeroth

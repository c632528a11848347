// What training on a sample found out about it, appended to its record in the trace store.
#pragma once

#include <cstdint>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

class RunRecorder;
struct StepReport;

// Annotates the groups of RunRecorder::record(step, .., groups), which must come before:
//   log_ratios            [tokens] log-prob at the sample's last update minus log-prob at sampling
//   reference_log_ratios  [tokens] the former minus the log-prob under the reference policy
//   loss                  [1] the sample's share of the last update's loss, KL included
// The first two are for reading, so they keep the 8 leading bits of the mantissa and the store half
// its bytes. Nothing is written for a group whose log-ratios are all 0 and that has no reference:
// with one update a step that is every group, and then its loss follows from its advantages. A
// sample that was not trained on (masked, or of a group without signal) has empty rows.
void record_training(RunRecorder& recorder, int64_t step, const std::vector<Group>& groups,
                     const StepReport& report);

}  // namespace zeroth

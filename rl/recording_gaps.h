// Whether metrics and traces hold what the checkpoint says was done.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "record/run_recorder.h"

namespace zeroth {

// What RUN/metrics.jsonl and RUN/traces lack of steps 0 to `steps` - 1, or hold twice or damaged, a
// sentence each. Weights and the rest of the run do not depend on them. Steps that `record` does
// not trace are not missed.
std::vector<std::string> recording_gaps(const std::filesystem::path& run, int64_t steps,
                                        const RecordConfig& record);

}  // namespace zeroth

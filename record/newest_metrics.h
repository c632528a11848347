// The newest row of a run's metrics, and the text that Prometheus reads.
#pragma once

#include <filesystem>
#include <string>

#include "core/config.h"

namespace zeroth {

// The last whole line of RUN/metrics.jsonl that is an object; null when there is none. Reads the
// end of the file alone, so it may be called while the run writes.
Json newest_metrics(const std::filesystem::path& run);

// A gauge zeroth_NAME per number of the row, in Prometheus' text exposition format 0.0.4; those of
// "timing" are zeroth_timing_NAME, and characters that a name may not have are "_". Empty for null.
std::string prometheus_text(const Json& row);

}  // namespace zeroth

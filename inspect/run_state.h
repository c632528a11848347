// What has become of a run: whether it goes on, how far it is, what rang, what was changed.
#pragma once

#include <filesystem>

#include "inspect/metrics_file.h"

namespace zeroth {

// {"state", "why", "done", "steps", "eta_s", "step_s"}:
//   running      a process holds the run's lock
//   finished     all steps of its config are done
//   stopped      an alarm that stops the run rang at its last step; "why" names it
//   failed       an error ended it; "why" is its message
//   interrupted  it ended before its last step with a checkpoint of where it was: a signal, which
//                "why" names, or whoever called it
//   killed       it ended without one; "why" says how many steps are lost
//   unknown      there is neither a lock nor a config to tell
// `config` is RUN/config.json or null. eta_s and step_s (seconds; the median of the last 50 steps)
// are null where they are not known. Takes no lock, so that it cannot get in a starting run's way.
Json run_state(const std::filesystem::path& run_dir, const Json& config,
               const MetricsFile& metrics);

// RUN/fleet/status.json, what the run's workers were doing when it was last written; null when
// there is none, or none that can be read.
Json fleet_state(const std::filesystem::path& run_dir);

// True when a process holds RUN/lock.
bool is_running(const std::filesystem::path& run_dir);

// [{"name", "times", "first", "last", "message"}]: the newest first, one for each name.
Json alarm_list(const MetricsFile& metrics);

}  // namespace zeroth

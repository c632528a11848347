// A made-up Countdown run, written through RunRecorder: traces that try, judge, say "wait" and
// flip, as in a real run, but with a known course. For tests of the page and for measuring at
// scale.
#pragma once

#include <cstdint>
#include <filesystem>

namespace zeroth {

struct MadeRun {
  int steps = 40;
  int first_step = 1;
  int groups = 16;
  int samples = 16;
  uint64_t seed = 1;
  int probe_every = 10;  // 0: no probe groups
  bool experts = true;
  bool hostile =
      false;  // one trace per step with markup, control characters, bidi marks and a huge token
  // One sample in four cannot be graded, and an alarm rings at the last step.
  bool failing = false;
  int eval_every = 0;  // held-out figures every n steps; 0: never
  int planned = 0;     // steps that the config asks for; 0: those that are made
  int tokens = 0;      // shorter completions are filled up with failed tries and prose
  bool scan = true;    // record the scanners' metrics too
};

void make_run(const std::filesystem::path& folder, const MadeRun& options);

}  // namespace zeroth

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
  int tokens = 0;    // shorter completions are filled up with failed tries and prose
  bool scan = true;  // record the scanners' metrics too
};

void make_run(const std::filesystem::path& folder, const MadeRun& options);

}  // namespace zeroth

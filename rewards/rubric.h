// What a reward is: the verdicts of the task, those for the length and the shape of a response, and
// their weighted sum. Training, evaluation and `zeroth rescore` grade by the same rubric.
#pragma once

#include <vector>

#include "core/config.h"
#include "core/trajectory.h"
#include "rewards/shaping.h"

namespace zeroth {

// What happens to samples that reach the length limit (DAPO, arXiv 2503.14476, section 3.4).
struct OverlongConfig {
  bool mask = false;
  int buffer = 0;
  double penalty = 1;
  template <class V>
  void fields(V& v) {
    v("mask", mask, "samples cut off at max_tokens have no loss");
    v("buffer", buffer,
      "the last so many tokens before max_tokens are punished, linearly; 0 = none",
      Range{0, 1 << 20});
    v("penalty", penalty, "largest punishment, reached at max_tokens", Range{0, 1e6});
  }
};

// Pure; any number of threads may use one.
struct Rubric {
  OverlongConfig overlong;
  ShapingConfig shaping;
  int max_tokens = 0;  // the length limit of the samples

  // Takes the task's verdicts [samples] of a group over, and sets of every sample
  //   verdicts  those of the task, then "overlong", then those of shape_group;
  //   masked    a checker failed, no reward applies to the sample, it was aborted, or it was cut
  //             off and overlong.mask is set;
  //   reward    the sum of score * weight over verdicts that have a score.
  // With length l, limit L and overlong.buffer b > 0, "overlong" is -penalty * clamp((l - (L - b))
  // / b, 0, 1).
  void apply(std::vector<std::vector<Verdict>> verdicts, Group& group) const;
};

}  // namespace zeroth

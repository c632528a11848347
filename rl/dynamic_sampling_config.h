// The section `dynamic_sampling` of a run's config.
#pragma once

#include "core/config.h"

namespace zeroth {

// Other problems in place of groups whose rewards are all equal (DAPO, arXiv 2503.14476, 3.2).
struct DynamicSamplingConfig {
  int max_rounds = 0;
  template <class V>
  void fields(V& v) {
    v("max_rounds", max_rounds,
      "extra rounds of drawing per step in place of groups whose rewards are all equal; when they "
      "do not fill the step, it goes on with such groups; 0 = off",
      Range{0, 1000});
  }
};

}  // namespace zeroth

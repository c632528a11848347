// Which earlier groups a step trains on again: the section `replay` of a run's config (rl/replay.h).
#pragma once

#include "core/config.h"

namespace zeroth {

struct ReplayConfig {
  double share = 0;
  int max_age = 4;
  int uses = 1;
  template <class V>
  void fields(V& v) {
    v("share", share,
      "most groups of a step, as a share, that are replaced by earlier ones: those whose rewards "
      "are all equal; 0 = none",
      Range{0, 1});
    v("max_age", max_age, "steps since a group was sampled, at most", Range{1, 1000});
    v("uses", uses, "how often a group is replayed, at most", Range{1, 1000});
  }
};

}  // namespace zeroth

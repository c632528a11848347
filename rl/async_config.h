// How far sampling may be ahead of training: the section `async` of a run's config.
#pragma once

#include "core/config.h"

namespace zeroth {

struct AsyncConfig {
  int lag = 0;
  template <class V>
  void fields(V& v) {
    v("lag", lag,
      "step k trains on samples of the weights of step k - lag, so that sampling and training "
      "overlap; the bytes depend on it alone, never on timing; 0 = one after the other",
      Range{0, 64});
  }
};

}  // namespace zeroth

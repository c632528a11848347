// Held-out evaluation during a run.
#pragma once

#include <cstdint>

#include "core/config.h"

namespace zeroth {

struct EvaluationConfig {
  int64_t every = 0;
  int problems = 128;
  int samples = 1;
  double temperature = 1;
  template <class V>
  void fields(V& v) {
    v("every", every, "steps between evaluations, step 0 and the end included; 0 = never",
      Range{0, 1e9});
    v("problems", problems, "held-out problems", Range{1, 1e7});
    v("samples", samples, "completions of each", Range{1, 65536});
    v("temperature", temperature, "of sampling; 0 = greedy", Range{0, 100});
  }
};

}  // namespace zeroth

// How tokens are drawn.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

struct SamplingConfig {
  double temperature = 1.0;
  int top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  int max_tokens = 256;
  std::vector<std::string> stop;  // generation ends when the decoded text contains one
  template <class V>
  void fields(V& v) {
    v("temperature", temperature, "softmax temperature; 0 = greedy", Range{0, 100});
    v("top_k", top_k, "keep the k most likely tokens; 0 = all", Range{0, 1 << 20});
    v("top_p", top_p, "keep the most likely tokens up to this mass; 1 = all", Range{1e-6, 1});
    v("min_p", min_p, "drop tokens below this share of the best one's probability; 0 = none",
      Range{0, 1});
    v("max_tokens", max_tokens, "longest completion in tokens", Range{1, 1 << 20});
    v("stop", stop, "strings that end a completion");
  }
};

}  // namespace zeroth

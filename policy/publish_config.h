// How a policy is published, as configs and flags say it.
#pragma once

#include <string>

#include "core/config.h"
#include "kernels/element.h"

namespace zeroth {

struct PublishConfig {
  std::string weights = "float32";
  template <class V>
  void fields(V& v) {
    v("weights", weights,
      "type of the published weights, which sampling and training read alike: float32, or bfloat16 "
      "(rounded once from the float32 masters, half the memory)",
      Choice{{"float32", "bfloat16"}});
  }
  kernels::Element element() const {
    return weights == "bfloat16" ? kernels::Element::kBfloat16 : kernels::Element::kFloat32;
  }
  double bytes() const { return element() == kernels::Element::kBfloat16 ? 2 : 4; }  // of a weight
};

}  // namespace zeroth

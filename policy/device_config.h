// Which device computes, as configs and flags say it.
#pragma once

#include <string>

#include "core/config.h"
#include "kernels/back_ends.h"

namespace zeroth {

struct DeviceConfig {
  std::string device = "cpu";
  template <class V>
  void fields(V& v) {
    v("device", device, "what computes: cpu, cuda (the first GPU) or cuda:N; changes no result");
  }
  // Throws as operators_on().
  const kernels::Operators& operators() const { return kernels::operators_on(device); }
};

}  // namespace zeroth
